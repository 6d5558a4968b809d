"""Gemma 2 and 3: norms before and after every operator, with gains written as what they are above 1."""

from functools import partial
from typing import Any

from star.families.blueprint import Blueprint
from star.families.config import Config
from star.families.dense import read, read_kinds, write, write_kinds
from star.families.family import Family, Traits
from star.families.links import LESS_ONE, Links
from star.families.parts import (
    FULL,
    SLIDING,
    frame,
    gated_unit,
    link_attention,
    link_norms,
    link_qk_norms,
    link_unit,
    read_sizes,
)

AFTER = ("post_attention_layernorm", "post_feedforward_layernorm")


def _read_gemma(config: Config, kinds: list[str], windowed: dict[str, Any], theta: float, **more: Any) -> Blueprint:
    config.fixed(attention_bias=False, use_bidirectional_attention=(False, None))
    style: dict[str, Any] = {
        "norm_eps": config.number("rms_norm_eps", 1e-6),
        "norm_place": "both",
        "rope_theta": theta,
        "tied": config.flag("tie_word_embeddings", True),
        "embedding_scale": config.size("hidden_size") ** 0.5,
        "logit_cap": config.number("final_logit_softcapping", 0.0),
    }
    cap = config.number("attn_logit_softcapping", 0.0)
    scalar = config.size("query_pre_attn_scalar", 256)
    unit = gated_unit(config, "hidden_activation")
    config = config.defaulting({"head_dim": 256})
    dims = read_sizes(config, **style)
    return read(config, dims, kinds, unit, windowed, score_scale=scalar**-0.5, score_cap=cap, **more)


def _read_gemma_2(config: Config) -> Blueprint:
    layers = config.layers()
    config = config.defaulting({"final_logit_softcapping": 30.0, "attn_logit_softcapping": 50.0})
    kinds = read_kinds(config, [FULL if i % 2 else SLIDING for i in range(layers)])
    return _read_gemma(config, kinds, {}, config.rope()[0])


def _read_gemma_3(config: Config) -> Blueprint:
    layers = config.layers()
    period = config.size("sliding_window_pattern", 6)
    kinds = read_kinds(config, [SLIDING if (i + 1) % period else FULL for i in range(layers)])
    local = config.number("rope_local_base_freq", 10_000.0)
    windowed: dict[str, Any] = {"rope_theta": config.replacing({"rope_theta": None}).rope(local, kind=SLIDING)[0]}
    return _read_gemma(config, kinds, windowed, config.rope(1e6, kind=FULL)[0], qk_norm="head")


def _write_gemma(traits: Traits, two_bases: bool) -> dict[str, Any]:
    mixer = traits.first("attention")
    return (
        write(traits, act="hidden_activation")
        | write_kinds(traits, two_bases)
        | {
            "query_pre_attn_scalar": max(1, round(mixer.get("score_scale", 1.0) ** -2)),
            "attn_logit_softcapping": mixer.get("score_cap", 0.0) or None,
            "final_logit_softcapping": traits.style.logit_cap or None,
        }
    )


def _link_gemma(links: Links, blueprint: Blueprint, config: Config, normed: bool) -> None:
    frame(links, steps=(LESS_ONE,))
    for i in range(len(blueprint.operators) // 2):
        layer = f"model.layers.{i}"
        link_attention(links, f"{layer}.self_attn", 2 * i)
        link_unit(links, f"{layer}.mlp", 2 * i + 1)
        link_norms(links, layer, 2 * i, ("input_layernorm", "pre_feedforward_layernorm"), (LESS_ONE,))
        link_norms(links, layer, 2 * i, AFTER, (LESS_ONE,), ours="post_norms")
        if normed:
            link_qk_norms(links, f"{layer}.self_attn", 2 * i, steps=(LESS_ONE,))


GEMMA_2 = Family(
    name="gemma2",
    architecture="Gemma2ForCausalLM",
    write=lambda traits: _write_gemma(traits, two_bases=False),
    read=_read_gemma_2,
    link=partial(_link_gemma, normed=False),
)
GEMMA_3 = Family(
    name="gemma3_text",
    architecture="Gemma3ForCausalLM",
    write=lambda traits: _write_gemma(traits, two_bases=True),
    read=_read_gemma_3,
    link=partial(_link_gemma, normed=True),
)

FAMILIES = (
    GEMMA_2,
    GEMMA_3,
)
