"""Whole models against `transformers`' own classes: the same weights, the same logits, token by token too."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from star.architecture.genome import decode, parse
from star.architecture.spec import Dimensions
from star.architecture.structures import specify
from star.export.single_file import ExportHeader, model_source
from star.model.language_model import LanguageModel

TOKENS = 19
PROMPT = 7


@contextmanager
def double() -> Iterator[None]:
    """Float64 for every module made inside."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def build(genome: str, dims: Dimensions) -> LanguageModel:
    """Our model in float64, every parameter drawn at random, norms' gains and biases included."""
    with double():
        model = LanguageModel(specify(decode(parse(genome)), dims)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
            else:
                nn.init.normal_(parameter, mean=1.0, std=0.2)
    return model


def copy_weights(reference: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Give a reference model all of its weights; none may be missing, none left over."""
    known = reference.state_dict()
    assert set(state) == set(known), (sorted(set(state) - set(known)), sorted(set(known) - set(state)))
    for name, tensor in state.items():
        assert tensor.shape == known[name].shape, (name, tensor.shape, known[name].shape)
    reference.load_state_dict(state)


@torch.no_grad()
def check_exported(genome: str, dims: Dimensions, model: LanguageModel, folder: Path) -> str:
    """The exported file of a genome computes what its model does. Returns its text."""
    header = ExportHeader(genome=parse(genome), facts=(), context=12, dtype_bytes=2)
    text = model_source(specify(decode(parse(genome)), dims), header)
    path = folder / "exported.py"
    path.write_text(text)
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found and found.loader
    module = importlib.util.module_from_spec(found)
    sys.modules[path.stem] = module
    found.loader.exec_module(module)
    del sys.modules[path.stem]
    exported = module.LanguageModel(module.SPEC).double()
    exported.load_state_dict(model.state_dict())
    tokens = torch.arange(12).reshape(2, 6)
    assert torch.equal(exported.eval()(tokens), model(tokens))
    return text


@torch.no_grad()
def check_logits(model: LanguageModel, reference: Any, tolerance: float = 1e-6, cached: bool = True) -> None:
    """Equal logits of whole sequences, and of a prompt continued one token at a time by both, each with its cache."""
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(0, model.embedding.num_embeddings, (2, TOKENS), generator=generator)
    expected = reference(input_ids=tokens, use_cache=False).logits
    assert model(tokens) == pytest.approx(expected, abs=tolerance, rel=tolerance)
    cache = model.new_cache(TOKENS, 2)
    steps = [model(tokens[:, :PROMPT], cache)] + [model(tokens[:, i : i + 1], cache) for i in range(PROMPT, TOKENS)]
    assert torch.cat(steps, dim=1) == pytest.approx(expected, abs=tolerance, rel=tolerance)
    if cached:
        assert _decode(reference, tokens) == pytest.approx(expected, abs=tolerance, rel=tolerance)


def _decode(reference: Callable[..., Any], tokens: torch.Tensor) -> torch.Tensor:
    out = reference(input_ids=tokens[:, :PROMPT], use_cache=True)
    found = [out.logits]
    for i in range(PROMPT, TOKENS):
        out = reference(input_ids=tokens[:, i : i + 1], past_key_values=out.past_key_values, use_cache=True)
        found.append(out.logits)
    return torch.cat(found, dim=1)
