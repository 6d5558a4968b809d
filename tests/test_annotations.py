"""The annotations of the models are checked in every test: else a wrong one would stay unseen."""

import inspect

import pytest
import torch
from beartype.roar import BeartypeCallHintParamViolation, BeartypeCallHintReturnViolation
from support.checked import checked

from star.model import language_model, ops
from star.model.ops.shapes import BTD, BTE, BTM, BTN


@checked
def widen(x: BTD, like: BTE, by: int) -> BTM:
    return x.repeat(1, by, 1)


def test_a_size_is_one_from_the_arguments_to_the_result():
    x, y = torch.zeros(2, 3, 4), torch.zeros(2, 3, 5)
    assert widen(x, y, 1).shape == x.shape
    assert widen(x[:1], y[:1], 1).shape == (1, 3, 4), "another call has sizes of its own"
    with pytest.raises(BeartypeCallHintParamViolation):
        widen(x, y[:, :2], 1)
    with pytest.raises(BeartypeCallHintParamViolation):
        widen(x, y.int(), 1)
    with pytest.raises(BeartypeCallHintParamViolation):
        widen(x, y, 1.0)
    with pytest.raises(BeartypeCallHintReturnViolation):
        widen(x, y, 2)


def test_a_call_within_a_call_changes_no_size():
    @checked
    def outer(x: BTD) -> BTD:
        inner(x[:, :1])
        return x[:, :1]

    @checked
    def inner(x: BTN) -> None:
        pass

    with pytest.raises(BeartypeCallHintReturnViolation):
        outer(torch.zeros(1, 2, 3))


def test_the_functions_of_models_are_checked():
    modules = [language_model, *(one for _, one in inspect.getmembers(ops, inspect.ismodule))]
    found = [
        function
        for module in modules
        for owner in (module, *(one for _, one in inspect.getmembers(module, inspect.isclass)))
        for function in vars(owner).values()
        if inspect.isfunction(function) and function.__module__ == module.__name__ and function.__annotations__
    ]
    assert len(found) > 40
    assert all(hasattr(function, "__wrapped__") for function in found), found
