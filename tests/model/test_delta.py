"""The gated delta rule against its naive twin and both forms of a public implementation, in values and gradients."""

import pytest
import torch
import torch.nn.functional as F
from support.oracle import assert_same, with_gradients
from transformers.models.qwen3_next.modeling_qwen3_next import (
    torch_chunk_gated_delta_rule,
    torch_recurrent_gated_delta_rule,
)

from star.model.ops.delta import gated_delta_rule, gated_delta_rule_naive

pytestmark = pytest.mark.usefixtures("double_precision")

LENGTHS = (1, 2, 63, 64, 65, 200)
BATCH, HEADS, KEYS, VALUES = 2, 3, 6, 4


def make_inputs(num_tokens, keys=KEYS):
    """q, k, v, log_decay, beta, start; keys of unit length, and corrections that may overshoot."""
    q, k = torch.randn(2, BATCH, num_tokens, HEADS, keys)
    log_decay, beta = -torch.rand(BATCH, num_tokens, HEADS), 2 * torch.rand(BATCH, num_tokens, HEADS)
    values, start = torch.randn(BATCH, num_tokens, HEADS, VALUES), torch.randn(BATCH, HEADS, keys, VALUES)
    return [q, F.normalize(k, dim=-1), values, log_decay, beta, start]


@pytest.mark.parametrize("num_tokens", LENGTHS)
@pytest.mark.parametrize("keys", [KEYS, 20, 40])
def test_twins(keys, num_tokens):
    """Keys of a width below, between and above the bounds of a chunk's length."""
    assert_same(gated_delta_rule, gated_delta_rule_naive, make_inputs(num_tokens, keys))


@pytest.mark.parametrize("oracle", [torch_chunk_gated_delta_rule, torch_recurrent_gated_delta_rule])
@pytest.mark.parametrize("num_tokens", LENGTHS)
def test_is_the_public_implementation(num_tokens, oracle, monkeypatch):
    """It scales queries by itself, and computes in what it calls single precision."""
    monkeypatch.setattr(torch, "float32", torch.float64)

    def public(q, k, v, log_decay, beta, start):
        return oracle(q * KEYS**0.5, k, v, log_decay, beta, initial_state=start, output_final_state=True)

    assert_same(gated_delta_rule, public, make_inputs(num_tokens))


@pytest.mark.parametrize("cuts", [(1, 1, 1, 97), (17, 16, 67), (64, 1, 35), (99, 1)])
def test_state_carried_over_cuts(cuts):
    def in_parts(*tensors):
        *sequences, state = tensors
        outputs = []
        for part in zip(*(x.split(cuts, dim=1) for x in sequences), strict=True):
            y, state = gated_delta_rule(*part, state)
            outputs.append(y)
        return torch.cat(outputs, dim=1), state

    assert_same(in_parts, gated_delta_rule, make_inputs(100))


@pytest.mark.parametrize("gone", [-1e3, -1e30, -torch.inf])
@pytest.mark.parametrize("num_tokens", [1, 70])
def test_decay_that_underflows_forgets_exactly(num_tokens, gone):
    """Nothing before such a token is left, in any value or gradient, and what comes after it loses no precision."""
    inputs = [x.float() for x in make_inputs(num_tokens)]
    reset = num_tokens // 2
    inputs[3][:, reset] = gone
    found = with_gradients(lambda *x: [gated_delta_rule(*x)[0][:, reset:]], inputs)
    after = [x[:, reset:].double() for x in inputs[:5]]
    after[3][:, 0] = 0
    expected = with_gradients(lambda *x: [gated_delta_rule_naive(*x, 0 * inputs[5].double())[0]], after)
    torch.testing.assert_close(found[0].double(), expected[0], rtol=0, atol=1e-5)
    for index, gradient in enumerate(found[1:6]):
        assert not gradient[:, : reset + (index == 3)].any()
        after_reset = (gradient.double(), expected[1 + index])
        one, other = (x[:, -(num_tokens - reset) :][:, (index == 3) :] for x in after_reset)
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    assert not found[6].any()


def test_a_full_correction_replaces_what_a_key_recalls():
    """With orthonormal keys, no decay and beta = 1, a query by a key returns the value last written for it."""
    keys = torch.eye(KEYS).repeat(5, 1)[None, :, None]
    values = torch.randn(1, len(keys[0]), 1, VALUES)
    steady = torch.zeros(1, len(keys[0]), 1)
    start = torch.randn(1, 1, KEYS, VALUES)
    y, last = gated_delta_rule(keys, keys, values, steady, steady + 1, start)
    torch.testing.assert_close(y, values)
    torch.testing.assert_close(last[0, 0], values[0, -KEYS:, 0])


def test_half_precision_outside_is_single_precision_inside():
    inputs = make_inputs(65)
    half = [x.bfloat16() for x in inputs[:3]] + [x.float() for x in inputs[3:]]
    y, last = gated_delta_rule(*half)
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = gated_delta_rule(*half)
    expected, expected_last = gated_delta_rule(*(x.float() for x in half))
    assert y.dtype == torch.bfloat16 and last.dtype == torch.float32
    torch.testing.assert_close((y, last), (expected.bfloat16(), expected_last), rtol=0, atol=0)
    torch.testing.assert_close((y, last), under_autocast, rtol=0, atol=0)
