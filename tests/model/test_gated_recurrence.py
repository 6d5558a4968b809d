"""The gated linear recurrence against its naive twins and the public implementation, in values and gradients."""

import pytest
import torch
from support.naive import gated_recurrence_naive, linear_recurrence_naive
from support.oracle import assert_same, with_gradients
from transformers import RecurrentGemmaConfig
from transformers.models.recurrent_gemma.modeling_recurrent_gemma import RecurrentGemmaRglru

from star.model.ops.gated_recurrence import gated_recurrence, linear_recurrence

pytestmark = pytest.mark.usefixtures("double_precision")

LENGTHS = (1, 2, 63, 64, 65, 200)
BATCH, WIDTH = 2, 6


def make_inputs(num_tokens, width=WIDTH):
    """v, input_gate, recurrence_gate, rate, start."""
    return [*torch.randn(3, BATCH, num_tokens, width), torch.randn(width) - 3, torch.randn(BATCH, width)]


def without_a_past(form):
    return lambda *tensors: form(*tensors[:-1], None)


def in_parts(cuts, *tensors):
    *sequences, rate, state = tensors
    states = []
    for part in zip(*(x.split(cuts, dim=1) for x in sequences), strict=True):
        h, state = gated_recurrence(*part, rate, state)
        states.append(h)
    return torch.cat(states, dim=1), state


@pytest.mark.parametrize("num_tokens", LENGTHS)
def test_linear_twins(num_tokens):
    inputs = [*torch.randn(2, BATCH, num_tokens, WIDTH), torch.randn(BATCH, WIDTH)]
    assert_same(linear_recurrence, linear_recurrence_naive, [inputs[0].tanh(), *inputs[1:]])


@pytest.mark.parametrize("num_tokens", LENGTHS)
def test_gated_twins(num_tokens):
    inputs = make_inputs(num_tokens)
    assert_same(gated_recurrence, gated_recurrence_naive, inputs)
    assert_same(without_a_past(gated_recurrence), without_a_past(gated_recurrence_naive), inputs)


@pytest.mark.parametrize("cuts", [(1, 1, 1, 97), (17, 16, 67), (99, 1)])
def test_state_carried_over_cuts(cuts):
    inputs = make_inputs(100)
    assert_same(lambda *x: in_parts(cuts, *x), gated_recurrence, inputs)
    assert_same(without_a_past(lambda *x: in_parts(cuts, *x)), without_a_past(gated_recurrence), inputs)


def make_oracle(width=16, heads=2):
    """The public module with random weights, and our recurrence on the gates that its weights make."""
    module = RecurrentGemmaRglru(RecurrentGemmaConfig(lru_width=width, num_attention_heads=heads))
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    weights = dict(module.named_parameters())

    def ours(x, start):
        grouped = x.unflatten(2, (heads, -1))
        gates = [
            (torch.einsum("bthi,hij->bthj", grouped, weights[f"{gate}_weight"]) + weights[f"{gate}_bias"]).flatten(2)
            for gate in ("input_gate", "recurrent_gate")
        ]
        return gated_recurrence(x, *gates, weights["recurrent_param"], start)

    return module, ours, list(weights.values())


@pytest.mark.parametrize("num_tokens", LENGTHS)
def test_is_the_public_module(num_tokens, either_precision, monkeypatch):
    """A whole sequence, in values and the gradients of activations and weights."""
    monkeypatch.setattr(
        RecurrentGemmaRglru._rnn_scan, "__defaults__", (torch.get_default_dtype(),)
    )  # it accumulates in
    module, ours, weights = make_oracle()
    x = torch.randn(BATCH, num_tokens, 16, requires_grad=True)
    atol = 1e-10 if x.dtype == torch.float64 else 1e-5
    h, last = ours(x, None)
    expected = module(x, torch.arange(num_tokens)[None])
    torch.testing.assert_close(h, expected, rtol=0, atol=atol)
    torch.testing.assert_close(last, module.recurrent_states, rtol=0, atol=atol)
    weight = torch.randn_like(h)
    found, wanted = (torch.autograd.grad((y * weight).sum(), [x, *weights]) for y in (h, expected))
    torch.testing.assert_close(found, wanted, rtol=atol, atol=atol)


def test_is_the_public_module_token_by_token():
    torch.set_default_dtype(torch.float32)
    module, ours, _ = make_oracle()
    x = torch.randn(BATCH, 20, 16)
    with torch.no_grad():
        _, state = ours(x[:, :15], None)
        module(x[:, :15], torch.arange(15)[None])
        for t in range(15, 20):
            h, state = ours(x[:, t : t + 1], state)
            expected = module(x[:, t : t + 1], torch.tensor([[t]]))
            torch.testing.assert_close(h, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gate", [-1e4, -100.0, -60.0, 1e4])
@pytest.mark.parametrize("rate", [-1e4, -100.0, -20.0, 1e3])
def test_gradients_are_bounded_whatever_is_kept(rate, gate, dtype):
    """From a = 1 exactly, where the slope of sqrt(1 - a^2) is infinite, to a that underflows."""
    v, input_gate = torch.randn(2, 1, 40, 3, dtype=dtype)
    tensors = [v, input_gate, torch.full_like(v, gate), torch.full((3,), rate, dtype=dtype), torch.randn(1, 3)]
    results = with_gradients(gated_recurrence, tensors)
    for result in results:
        assert result.isfinite().all() and result.abs().max() < 1e3


def test_gradient_where_nearly_all_is_kept():
    """sqrt(1 - a^2) = sqrt(2 x) for a = exp(-x), x small, in its value and its slope; single precision suffices."""
    one, no = torch.ones(1, 1, 1, dtype=torch.float32), torch.zeros(1, 1, dtype=torch.float32)
    for rate in (-10.0, -20.0, -40.0, -60.0):
        rate = torch.tensor([rate], dtype=torch.float32, requires_grad=True)
        h, _ = gated_recurrence(one, 1e4 * one, 1e4 * one, rate, no)
        expected = (16 * rate.exp()).sqrt()
        torch.testing.assert_close(h[0, 0], expected, rtol=1e-3, atol=0)
        found, wanted = (torch.autograd.grad(y.sum(), rate)[0] for y in (h, expected))
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=0)


def test_half_precision_outside_is_single_precision_inside():
    half = [x.bfloat16() for x in make_inputs(65)]
    h, last = gated_recurrence(*half)
    expected, expected_last = gated_recurrence(*(x.float() for x in half))
    assert h.dtype == torch.bfloat16 and last.dtype == torch.float32
    torch.testing.assert_close((h, last), (expected.bfloat16(), expected_last), rtol=0, atol=0)
