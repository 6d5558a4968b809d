"""Families of gated delta rules and attention: Qwen3-Next, OLMo Hybrid."""

from collections.abc import Mapping
from typing import Any

from star.architecture.overrides import OperatorOverrides
from star.errors import UserError
from star.families.blueprint import Blueprint, Operator
from star.families.config import Config
from star.families.dense import plain_style, write
from star.families.experts import (
    QWEN_KEYS,
    experts,
    is_routed,
    link_experts,
    link_shared,
    selection_bias,
    sparse_layers,
    write_experts,
    write_sparse_layers,
)
from star.families.family import Family, Traits
from star.families.links import FIRST, LESS_ONE, Links, by_head
from star.families.parts import (
    EQUAL_HEADS,
    FULL,
    attention,
    check_eps,
    feature,
    frame,
    gated_unit,
    has_bias,
    kernels,
    link_attention,
    link_norms,
    link_qk_norms,
    link_unit,
    pairs,
    rates,
    read_sizes,
    taps_of,
    write_rope,
)

LINEAR = "linear_attention"


def write_delta(traits: Traits) -> dict[str, Any]:
    """Return the keys of delta rules, and the kind of every layer."""
    delta = traits.first("delta rule")
    head_dim = delta.get("head_dim", 1)
    return {
        "layer_types": [FULL if one["operator"] == "attention" else LINEAR for one in traits.slots[::2]],
        "linear_num_value_heads": delta.get("heads", 1),
        "linear_num_key_heads": max(1, delta.get("width of B", 1) // head_dim),
        "linear_key_head_dim": head_dim,
        "linear_value_head_dim": delta.get("value_head_dim", 1),
        "linear_conv_kernel_dim": taps_of(delta),
    }


# --- Qwen3-Next


def _read_qwen_3_next(config: Config) -> Blueprint:
    biased: dict[str, Any] = {"bias": "CBV", "out_bias": True} if config.flag("attention_bias", False) else {}
    layers = config.layers()
    every = config.size("full_attention_interval", 4)
    kinds = [LINEAR if (i + 1) % every else FULL for i in range(layers)]
    kinds = config.words("layer_types", (LINEAR, FULL), layers, kinds)
    theta, share = config.rope(share=0.25)
    style: dict[str, Any] = plain_style(config) | {"rope_theta": theta, "rotary": share}
    taps = config.size("linear_conv_kernel_dim", 4)
    delta = OperatorOverrides(
        num_heads=config.size("linear_num_value_heads", 32),
        num_key_heads=config.size("linear_num_key_heads", 16),
        head_dim=config.size("linear_key_head_dim", 128),
        value_head_dim=config.size("linear_value_head_dim", 128),
        taps=taps,
        kept_taps=taps,
    )
    mixers = {LINEAR: ("GDN", delta), FULL: attention(config, qk_norm="head", gate=True, **biased)}
    has_experts = config.size("num_experts", 512, least=0) > 0
    sparse = [has_experts and one for one in sparse_layers(config)]
    units = [_routed(config) if one else gated_unit(config) for one in sparse]
    dims = read_sizes(config.defaulting({"head_dim": 256}), **style)
    return Blueprint(pairs([mixers[kind] for kind in kinds], units), dims)


def _routed(config: Config) -> Operator:
    shared, shares = config.size("shared_expert_intermediate_size", 512), config.flag("norm_topk_prob", True)
    values = config.defaulting({"num_experts": 512})
    return experts(values, *QWEN_KEYS, d_shared=shared, scoring="softmax", normalised=shares, shared_gate=True)


def _write_qwen_3_next(traits: Traits) -> dict[str, Any]:
    mixer, unit = traits.first("attention"), traits.first("routed")
    found = write(traits) | write_experts(unit, *QWEN_KEYS) | write_sparse_layers(traits) | write_delta(traits)
    return found | {
        "rope_parameters": write_rope(traits, mixer, share=True),
        "attention_bias": has_bias(mixer, "CBV"),
        "shared_expert_intermediate_size": unit.get("width of S", 1),
        "norm_topk_prob": unit.get("normalised", True),
    }


def _link_qwen_3_next(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links, steps=(LESS_ONE,))
    for i in range(len(blueprint.operators) // 2):
        layer, slot, unit = f"model.layers.{i}", 2 * i, 2 * i + 1
        name, overrides = blueprint.operators[slot]
        if name == "GDN":
            link_delta(links, f"{layer}.linear_attn", slot, overrides.num_key_heads)
        else:
            link_gated_attention(links, f"{layer}.self_attn", slot, blueprint.dims.num_heads)
        if is_routed(blueprint.operators[unit]):
            link_experts(links, f"{layer}.mlp", unit)
            link_shared(links, f"{layer}.mlp.shared_expert", unit)
            links.add(f"{layer}.mlp.shared_expert_gate.weight", f"layers.{unit}.mixer.shared_gate", steps=(FIRST,))
            links.zero(selection_bias(unit))
        else:
            link_unit(links, f"{layer}.mlp", unit)
        link_norms(links, layer, slot, steps=(LESS_ONE,))


def link_delta(links: Links, prefix: str, slot: int, key_heads: int) -> None:
    """Link a delta rule: each key head has its query, its key, and what it serves of values and gates in a row."""
    for theirs, roles in (("in_proj_qkvz", "CBVZ"), ("in_proj_ba", "WA")):
        ours = [feature(slot, role) for role in roles]
        rows = by_head(key_heads, *(links.own[f"{one}.weight"][0] for one in ours))
        links.module(f"{prefix}.{theirs}", *ours, rows=rows)
    kernels(links, f"{prefix}.conv1d", slot, "CBV")
    rates(links, prefix, slot, skip=False)
    links.add(f"{prefix}.dt_bias", f"layers.{slot}.mixer.step_bias")
    links.module(f"{prefix}.norm", f"layers.{slot}.mixer.norm")
    links.module(f"{prefix}.out_proj", f"layers.{slot}.out")


def link_gated_attention(links: Links, prefix: str, slot: int, heads: int) -> None:
    """Link attention with a gate: each head has its query and its gate in a row."""
    width = links.own[f"{feature(slot, 'C')}.weight"][0] // 2
    link_attention(links, prefix, slot, rows={"C": by_head(heads, width, width)})
    link_qk_norms(links, prefix, slot, steps=(LESS_ONE,))


QWEN_3_NEXT = Family(
    name="qwen3_next",
    architecture="Qwen3NextForCausalLM",
    write=_write_qwen_3_next,
    read=_read_qwen_3_next,
    link=_link_qwen_3_next,
    ignored=r"(^mtp\.|rotary_emb\.inv_freq$)",
)

# --- OLMo Hybrid: norms before a delta rule and its unit, after attention and its unit


def _read_olmo_hybrid(config: Config) -> Blueprint:
    config = config.defaulting(EQUAL_HEADS)
    config.fixed(attention_bias=False)
    if config.flag("linear_allow_neg_eigval", True):
        raise UserError("linear_allow_neg_eigval is true, and writes of strength 2 have no counterpart here")
    layers, heads, taps = config.layers(), config.size("num_attention_heads"), config.size("linear_conv_kernel_dim", 4)
    kinds = config.words("layer_types", (LINEAR, FULL), layers, [FULL if i % 4 == 3 else LINEAR for i in range(layers)])
    key_heads = config.size("linear_num_key_heads", heads)
    key_dim = config.size("linear_key_head_dim", max(1, 3 * config.size("hidden_size") // (4 * key_heads)))
    delta = OperatorOverrides(
        num_heads=config.size("linear_num_value_heads", heads),
        num_key_heads=key_heads,
        head_dim=key_dim,
        value_head_dim=config.size("linear_value_head_dim", 2 * key_dim),
        taps=taps,
        kept_taps=taps,
    )
    table = config.given("rope_parameters") or {}
    is_rotated = not isinstance(table, Mapping) or table.get("rope_theta", 10_000.0) is not None
    style: dict[str, Any] = plain_style(config) | {"positions": "rotary" if is_rotated else "none"}
    check_eps(style["norm_eps"], 1e-5, "norms of delta rules")
    mixers = {LINEAR: ("GDN", delta), FULL: attention(config, qk_norm="all", norm_place="after")}
    units = {LINEAR: gated_unit(config), FULL: gated_unit(config, other=True, norm_place="after")}
    dims = read_sizes(config, by_head=False, **style)
    return Blueprint(pairs([mixers[one] for one in kinds], [units[one] for one in kinds]), dims)


def _write_olmo_hybrid(traits: Traits) -> dict[str, Any]:
    mixer = traits.first("attention")
    rope = (
        write_rope(traits, mixer)
        if mixer.get("positions") == "rotary"
        else {"rope_type": "default", "rope_theta": None}
    )
    found = write(traits, by_head=False) | write_delta(traits)
    return found | {"rope_parameters": rope, "linear_allow_neg_eigval": False}


def _link_olmo_hybrid(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links)
    for i in range(len(blueprint.operators) // 2):
        layer, slot = f"model.layers.{i}", 2 * i
        if blueprint.operators[slot][0] == "GDN":
            place = f"{layer}.linear_attn"
            for name, role in zip("qkvabg", "CBVAWZ", strict=True):
                links.module(f"{place}.{name}_proj", feature(slot, role))
            for name, role in zip("qkv", "CBV", strict=True):
                kernels(links, f"{place}.{name}_conv1d", slot, role)
            rates(links, place, slot, skip=False)
            links.add(f"{place}.dt_bias", f"layers.{slot}.mixer.step_bias")
            links.module(f"{place}.o_norm", f"layers.{slot}.mixer.norm")
            links.module(f"{place}.o_proj", f"layers.{slot}.out")
            link_norms(links, layer, slot)
        else:
            link_attention(links, f"{layer}.self_attn", slot)
            link_qk_norms(links, f"{layer}.self_attn", slot)
            link_norms(links, layer, slot, ("post_attention_layernorm", "post_feedforward_layernorm"))
        link_unit(links, f"{layer}.mlp", slot + 1)


OLMO_HYBRID = Family(
    name="olmo_hybrid",
    architecture="OlmoHybridForCausalLM",
    write=_write_olmo_hybrid,
    read=_read_olmo_hybrid,
    link=_link_olmo_hybrid,
    renames=(("attention_layer_norm", "input_layernorm"), ("feedforward_layer_norm", "post_attention_layernorm")),
)

FAMILIES = (QWEN_3_NEXT, OLMO_HYBRID)
