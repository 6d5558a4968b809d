"""More of what published families do: sinks, scaled residuals and logits, no norm before the head; in modules, in
prices and in exported files."""

from dataclasses import replace

import pytest
import torch
from support.families import build, check_exported, check_logits, of_family
from support.states import (
    attention_state,
    block_norms,
    frame_state,
    in_double,
    make_dims,
    make_reference,
    prefixed,
    unit_state,
)
from transformers import GptOssConfig, GptOssForCausalLM, GraniteConfig, GraniteForCausalLM
from transformers.models.gpt_oss import modeling_gpt_oss
from transformers.models.llama.modeling_llama import LlamaMLP

from star.architecture.genome import decode
from star.architecture.spec import BackboneConfig, OperatorOverrides
from star.architecture.structures import check_overrides
from star.cost.cost import price
from star.errors import UserError

TOKENS = torch.arange(12).reshape(2, 6)


@pytest.fixture(autouse=True)
def doubles(monkeypatch):
    yield from in_double(monkeypatch)


def blocks_state(model, attention):
    """Layers of attention and a gated unit."""
    state = frame_state(model)
    for i, layer in enumerate(f"model.layers.{i}" for i in range(2)):
        state |= prefixed(f"{layer}.self_attn", attention(model.layers[2 * i]))
        state |= prefixed(f"{layer}.mlp", unit_state(model.layers[2 * i + 1]))
        state |= block_norms(model, i, layer)
    return state


def sizes(dims, **others):
    """Settings of a reference of two layers."""
    own = {"vocab_size": dims.vocab_size, "hidden_size": dims.d_model, "num_hidden_layers": 2}
    own |= {"num_attention_heads": dims.num_heads, "num_key_value_heads": 2, "intermediate_size": 40}
    return own | {"rms_norm_eps": 1e-5, "attn_implementation": "eager"} | others


class Unit(LlamaMLP):
    """In the place of its experts, which clamp what they activate; they return what the router says, too."""

    def forward(self, x):
        return super().forward(x), None


def test_gpt_oss(monkeypatch):
    """Its attention by turns within a window and without, with sinks and biases."""
    monkeypatch.setattr(modeling_gpt_oss, "GptOssMLP", Unit)
    heads = OperatorOverrides(num_kv_heads=2, sinks=True, bias="CBV", out_bias=True)
    operators = {"SWA-GQA": replace(heads, window=6), "SA-4": heads, "GMemless": OperatorOverrides(d_ff=40)}
    dims = make_dims(32, 12, operators, heads=4, norm_eps=1e-5, tied=False, rope_theta=150_000.0)
    model = build("201111-91111-41111-91111", dims)
    rotation = {"rope_type": "default", "rope_theta": 150_000.0}
    config = GptOssConfig(**sizes(dims, sliding_window=6, head_dim=12, rope_parameters=rotation, mlp_bias=False))
    state = blocks_state(model, lambda liv: attention_state(liv) | {"sinks": liv.mixer.sinks})
    check_logits(model, make_reference(GptOssForCausalLM, config, state), tolerance=1e-10)


def test_granite():
    """Embedding, scores, what operators add, and logits, each times a number."""
    operators = {"SA-4": OperatorOverrides(num_kv_heads=2, score_scale=0.2), "GMemless": OperatorOverrides(d_ff=40)}
    scales = {"embedding_scale": 12.0, "residual_scale": 0.22, "logit_scale": 1 / 8}
    dims = make_dims(32, 8, operators, norm_eps=1e-5, **scales)
    model = build("41111-91111-41111-91111", dims)
    factors = {"embedding_multiplier": 12.0, "attention_multiplier": 0.2, "residual_multiplier": 0.22}
    rotation = {"rope_type": "default", "rope_theta": 10_000.0}
    config = GraniteConfig(
        **sizes(dims, logits_scaling=8.0, rope_parameters=rotation, tie_word_embeddings=True, **factors)
    )
    check_logits(model, of_family(GraniteForCausalLM, config, model), tolerance=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("norm_place", ["before", "after", "both"])
def test_what_operators_add_is_scaled_and_the_head_reads_the_stream(norm_place):
    style = {"residual_scale": 0.5, "logit_scale": 3.0, "logit_cap": 2.0, "final_norm": False}
    model = build("91111-91111", make_dims(32, 8, {}, norm_place=norm_place, **style))
    norms = {"before": [torch.nn.Identity()] * 2, "after": model.norms}.get(norm_place) or model.post_norms
    x = model.embedding(TOKENS)
    for i, layer in enumerate(model.layers):
        y, _ = layer(x if norm_place == "after" else model.norms[i](x), {})
        x = x + 0.5 * norms[i](y)
    torch.testing.assert_close(model(TOKENS), 2 * torch.tanh(1.5 * x @ model.embedding.weight.T))


def test_prices_of_sinks_and_of_the_last_norm():
    """One number for each query head, in each copy of a differential operator; a gain for each channel."""
    for number, name, copies in ((1, "SA-1", 1), (10, "SA-1-Diff", 2)):
        slots = decode((number, 1, 1, 1, 1))
        assert slots[0].liv.name == name
        plain = price(slots, make_dims(32, 8, {}))
        assert price(slots, make_dims(32, 8, {name: OperatorOverrides(sinks=True)})).params == plain.params + 4 * copies
        assert price(slots, make_dims(32, 8, {}, final_norm=False)).params == plain.params - 32


def test_only_attention_over_heads_knows_sinks_and_caps():
    for number in (5, 21, 23):
        (slot,) = decode((number, 1, 1, 1, 1))
        for overrides in (OperatorOverrides(sinks=True), OperatorOverrides(score_cap=50.0)):
            with pytest.raises(UserError, match="means nothing to"):
                check_overrides(slot.liv, overrides)


@pytest.mark.parametrize("number", [-1.0, float("inf"), float("nan")])
def test_impossible_numbers(number):
    with pytest.raises(UserError, match="score_cap must be a number from 0 to"):
        OperatorOverrides(score_cap=number)
    for name in ("residual_scale", "logit_scale"):
        with pytest.raises(UserError, match=f"{name} must be positive"):
            BackboneConfig(**{name: number})


@torch.no_grad()
def test_an_exported_file_computes_the_same(tmp_path):
    heads = OperatorOverrides(sinks=True, score_cap=2.0)
    style = {"final_norm": False, "residual_scale": 0.5, "logit_scale": 3.0}
    dims = make_dims(32, 8, {"SA-1": heads, "SWA-GQA": replace(heads, window=2)}, **style)
    model = build("11111-201111-91111", dims)
    check_exported("11111-201111-91111", dims, model, tmp_path)
