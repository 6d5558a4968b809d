"""gpt-oss: attention with sinks, by turns within a window, and experts with biases and a clipped swish."""

from typing import Any

from star.architecture.overrides import OperatorOverrides
from star.families.blueprint import Blueprint
from star.families.config import Config
from star.families.dense import KINDS, plain_style, write, write_kinds
from star.families.experts import selection_bias, write_experts
from star.families.family import Family, Traits
from star.families.links import SWAP, Links, by_head
from star.families.parts import (
    FULL,
    SLIDING,
    attention,
    feature,
    frame,
    link_attention,
    link_norms,
    pairs,
    read_sizes,
)

EXPERTS = "11194,1211,1211,1242"  # routed, with a clipped swish
KEYS = "num_local_experts", "num_experts_per_tok", "intermediate_size"


def _read_gpt_oss(config: Config) -> Blueprint:
    config.fixed(attention_bias=True)
    layers = config.layers()
    kinds = config.words("layer_types", KINDS, layers, [FULL if i % 2 else SLIDING for i in range(layers)])
    heads: dict[str, Any] = {"sinks": True, "bias": "CBV", "out_bias": True}
    window = config.size("sliding_window", 128)
    mixers = {kind: attention(config, kind, window, **heads) for kind in set(kinds)}
    unit = OperatorOverrides(
        d_ff=config.size("intermediate_size"),
        num_experts=config.size("num_local_experts"),
        experts_per_token=config.size("num_experts_per_tok"),
        scoring="softmax",
        normalised=True,
        bias="CVR",
        out_bias=True,
        clip_limit=config.number("swiglu_limit", 7.0),
        swish_slope=config.number("swiglu_alpha", 1.702),
    )
    dims = read_sizes(config.defaulting({"head_dim": 64}), **plain_style(config, eps=1e-5, theta=150_000.0))
    return Blueprint(pairs([mixers[kind] for kind in kinds], (EXPERTS, unit)), dims)


def _write_gpt_oss(traits: Traits) -> dict[str, Any]:
    unit = traits.first("routed")
    found = write(traits) | write_kinds(traits) | write_experts(unit, *KEYS)
    return found | {
        "hidden_act": "silu",
        "swiglu_limit": unit.get("clip_limit", 7.0),
        "swiglu_alpha": unit.get("swish_slope", 1.702),
    }


def _link_gpt_oss(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links)
    for i in range(len(blueprint.operators) // 2):
        layer, slot, unit = f"model.layers.{i}", 2 * i, 2 * i + 1
        link_attention(links, f"{layer}.self_attn", slot)
        links.add(f"{layer}.self_attn.sinks", f"layers.{slot}.mixer.sinks")
        link_norms(links, layer, slot)
        links.module(f"{layer}.mlp.router", feature(unit, "R"))
        place, made, out = f"{layer}.mlp.experts", f"layers.{unit}.featurizer", f"layers.{unit}.mixer.out"
        width = links.own[f"{made}.C.weight"][1]
        rows = by_head(width, width, width)  # gate and value of a channel in a row
        for end, theirs, steps in (("weight", "", (SWAP,)), ("bias", "_bias", ())):
            pair = f"{made}.C.{end}", f"{made}.V.{end}"
            links.add(f"{place}.gate_up_proj{theirs}", *pair, axis=1, rows=rows, steps=steps)
            links.add(f"{place}.down_proj{theirs}", f"{out}.{end}", steps=steps)
        links.zero(selection_bias(unit))


GPT_OSS = Family(
    name="gpt_oss",
    architecture="GptOssForCausalLM",
    write=_write_gpt_oss,
    read=_read_gpt_oss,
    link=_link_gpt_oss,
)

FAMILIES = (GPT_OSS,)
