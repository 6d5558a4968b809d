"""Linear attention with decay against its naive twin and two public implementations, in values and gradients."""

import math

import pytest
import torch
from support.oracle import assert_same
from transformers import MiniMaxConfig
from transformers.models.mamba2.modeling_mamba2 import mamba2_chunk_scan
from transformers.models.minimax.modeling_minimax import MiniMaxLightningAttention

from star.model.ops.linear_attention import linear_attention, linear_attention_naive

pytestmark = pytest.mark.usefixtures("double_precision")

LENGTHS = (1, 2, 63, 64, 65, 200)
BATCH, HEADS, KEYS, VALUES = 2, 4, 3, 5


def make_inputs(num_tokens, per_channel=False, groups=HEADS):
    """q, k, v, log_decay, start."""
    q, k = torch.randn(2, BATCH, num_tokens, groups, KEYS)
    log_decay = -torch.rand(BATCH, num_tokens, HEADS, KEYS)
    values, start = torch.randn(BATCH, num_tokens, HEADS, VALUES), torch.randn(BATCH, HEADS, KEYS, VALUES)
    return [q, k, values, log_decay if per_channel else log_decay[..., 0], start]


def fast(*inputs):
    return list(linear_attention(*inputs))


def naive(*inputs):
    return list(linear_attention_naive(*inputs))


@pytest.mark.parametrize("num_tokens", LENGTHS)
@pytest.mark.parametrize("groups", [1, 2, HEADS])
@pytest.mark.parametrize("per_channel", [False, True])
def test_twins(per_channel, groups, num_tokens):
    assert_same(fast, naive, make_inputs(num_tokens, per_channel, groups))


@pytest.mark.parametrize("per_channel", [False, True])
def test_one_sequence_of_one_head_is_left_as_it_was(per_channel):
    """Where cutting into chunks copies nothing, the inputs must not be worked on in place."""
    inputs = [x[:1, :, :1] for x in make_inputs(32, per_channel)[:4]] + [torch.randn(1, 1, KEYS, VALUES)]
    before = [x.clone() for x in inputs]
    assert_same(fast, naive, inputs)
    assert all(torch.equal(*pair) for pair in zip(inputs, before, strict=True))


@pytest.mark.parametrize("per_channel", [False, True])
def test_heads_that_share_a_view_get_the_gradient_of_all(per_channel):
    shared = make_inputs(70, per_channel, groups=1)

    def expanded(q, k, *rest):
        return fast(q.expand(-1, -1, HEADS, -1), k.expand(-1, -1, HEADS, -1), *rest)

    assert_same(fast, expanded, shared)


@pytest.mark.parametrize("cuts", [(1,), (37, 38, 150), (64, 128), (5, 69, 101, 199)])
@pytest.mark.parametrize("per_channel", [False, True])
def test_parts_that_hand_their_state_on_make_one_pass(per_channel, cuts):
    def in_parts(q, k, v, log_decay, state):
        outputs = []
        for part in zip(*(x.tensor_split(cuts, dim=1) for x in (q, k, v, log_decay)), strict=True):
            y, state = linear_attention(*part, state)
            outputs.append(y)
        return [torch.cat(outputs, dim=1), state]

    assert_same(fast, in_parts, make_inputs(200, per_channel, groups=2))


@pytest.mark.parametrize("per_channel", [False, True])
def test_forgets_exactly_where_its_decay_underflows(per_channel):
    """Decays of e^-1000 leave no trace and no NaN, in the values and in every gradient."""
    inputs = make_inputs(65, per_channel)
    inputs[3] = torch.full_like(inputs[3], -1000.0)
    assert_same(fast, naive, inputs)
    q, k, v, log_decay, start = inputs
    alone = (q * k).sum(-1, keepdim=True) * v
    for decay in (log_decay, torch.full_like(log_decay, -math.inf)):
        y, last = linear_attention(q, k, v, decay, start)
        torch.testing.assert_close(y, alone, rtol=0, atol=1e-12)
        torch.testing.assert_close(last, k[:, -1, :, :, None] * v[:, -1, :, None], rtol=0, atol=1e-12)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("forgotten", [-1e5, -math.inf])
def test_one_reset_costs_later_decays_no_precision(per_channel, forgotten):
    """A difference of running sums would, in float32, round later decays to 1e5 times the precision."""
    inputs = [x.float() for x in make_inputs(32, per_channel)]
    inputs[3] *= 0.1
    inputs[3][:, 3] = forgotten
    tensors = [x.requires_grad_() for x in inputs]
    y, last = linear_attention(*tensors)
    expected, expected_last = linear_attention_naive(*(x.double() for x in inputs))
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(last.double(), expected_last, rtol=0, atol=1e-5)
    assert all(g.isfinite().all() for g in torch.autograd.grad(y.sum() + last.sum(), tensors))


@pytest.mark.parametrize("num_tokens", [1, 40])
def test_half_precision_is_computed_in_single(num_tokens):
    q, k, v, log_decay, start = (x.float() for x in make_inputs(num_tokens))
    q, k, v = (x.bfloat16() for x in (q, k, v))
    with torch.autocast("cpu", torch.bfloat16):
        y, last = linear_attention(q, k, v, log_decay, start)
    expected, expected_last = linear_attention_naive(q.float(), k.float(), v.float(), log_decay, start)
    assert y.dtype == torch.bfloat16 and last.dtype == torch.float32
    torch.testing.assert_close(y, expected.bfloat16(), rtol=1e-2, atol=1e-4)
    torch.testing.assert_close(last, expected_last, rtol=0, atol=1e-5)


@pytest.mark.parametrize("num_tokens", [2, 64, 65])
@pytest.mark.parametrize("groups", [1, 2, HEADS])
def test_is_the_chunk_scan_of_mamba_2(groups, num_tokens, monkeypatch):
    """transformers computes in single precision, which is lifted to double so that nothing but errors is left."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    q, k, v, _, start = make_inputs(num_tokens, groups=groups)
    step, rate = torch.rand(BATCH, num_tokens, HEADS), torch.rand(HEADS) + 0.5

    def ours(q, k, v, step, rate, start):
        return fast(q, k, v * step[..., None], -step * rate, start)

    def theirs(q, k, v, step, rate, start):
        y, last = mamba2_chunk_scan(
            v, step, -rate, k, q, chunk_size=16, initial_states=start.mT, return_final_states=True
        )
        return [y, last.mT]

    assert_same(ours, theirs, [q, k, v, step, rate, start])


@pytest.mark.parametrize("num_tokens", [1, 16, 40])
def test_is_the_lightning_attention_of_minimax(num_tokens):
    """A fixed decay for every head; their projections make q, k and v, whose gradients reach the module's input."""
    config = MiniMaxConfig(
        hidden_size=24, num_attention_heads=HEADS, head_dim=6, num_hidden_layers=2, block_size=16,
        layer_types=["linear_attention"] * 2, hidden_act="silu",
    )  # fmt: skip
    theirs_module = MiniMaxLightningAttention(config, layer_idx=0)

    def theirs(x):
        return list(theirs_module(x, position_embeddings=None, attention_mask=None))

    def ours(x):
        made = theirs_module.act_fn(theirs_module.qkv_proj(x))
        q, k, v = made.unflatten(2, (HEADS, -1)).chunk(3, dim=-1)
        log_decay = -theirs_module.slope_rate.flatten().expand(BATCH, num_tokens, HEADS)
        y, last = linear_attention(q, k, v, log_decay, torch.zeros(BATCH, HEADS, 6, 6))
        y = theirs_module.output_gate(x).sigmoid() * theirs_module.norm(y.flatten(2))
        return [theirs_module.out_proj(y), last]

    # Their norm works in single precision.
    assert_same(ours, theirs, [torch.randn(BATCH, num_tokens, 24)], atol=1e-6)
