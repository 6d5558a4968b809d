"""Families of attention and routed experts: Mixtral, Qwen3-MoE; and the names of experts, which others share."""

from typing import Any

from star.architecture.overrides import OperatorOverrides
from star.families.blueprint import Blueprint, Operator
from star.families.config import Config
from star.families.dense import plain_style, write
from star.families.facts import Facts
from star.families.family import Family, Traits
from star.families.links import Links
from star.families.parts import (
    FULL,
    GATED,
    SLIDING,
    attention,
    feature,
    frame,
    gated_unit,
    has_bias,
    link_attention,
    link_norms,
    link_qk_norms,
    link_unit,
    pairs,
    read_sizes,
    read_window,
)


def experts(config: Config, experts_key: str, chosen_key: str, width_key: str, **more: Any) -> Operator:
    """Return routed experts; `more` are overrides. With `d_shared` there are experts that serve every token."""
    config.fixed(hidden_act=("silu", "swish"))
    overrides = OperatorOverrides(
        d_ff=config.size(width_key),
        num_experts=config.size(experts_key),
        experts_per_token=config.size(chosen_key),
        **more,
    )
    return "MoE-shared" if overrides.d_shared else "MoE", overrides


def write_experts(unit: Facts, experts_key: str, chosen_key: str, width_key: str) -> dict[str, Any]:
    """Return the keys of routed experts."""
    return {
        experts_key: unit.get("experts of R", 1),
        chosen_key: unit.get("chosen experts of R", 1),
        width_key: unit.get("width of C", 1),
    }


def link_experts(links: Links, prefix: str, slot: int, names: tuple[str, ...] = GATED, router: str = "gate") -> None:
    """Link the router and the maps of experts, each of which is a tensor of its own in a file."""
    links.module(f"{prefix}.{router}", feature(slot, "R"))
    ours = *(f"layers.{slot}.featurizer.{role}.weight" for role in "CV"), f"layers.{slot}.mixer.out.weight"
    for name, one in zip(names, ours, strict=True):
        theirs = [f"{prefix}.experts.{expert}.{name}.weight" for expert in range(links.own[one][0])]
        links.add(theirs, one, apart=True)


def link_shared(links: Links, prefix: str, slot: int) -> None:
    """Link the experts that serve every token, if there are any."""
    if f"layers.{slot}.mixer.shared_out.weight" in links.own:
        ours = feature(slot, "S"), feature(slot, "U"), f"layers.{slot}.mixer.shared_out"
        links.modules(f"{prefix}.", dict(zip(GATED, ours, strict=True)))


def selection_bias(slot: int) -> str:
    """Return the name of the bias that chooses experts."""
    return f"layers.{slot}.mixer.selection_bias"


def is_routed(operator: Operator) -> bool:
    """Return whether an operator is one of routed experts."""
    return bool(operator[1].num_experts)


# --- Mixtral


def _read_mixtral(config: Config) -> Blueprint:
    window = config.given("sliding_window")
    mixer = attention(config, FULL if window is None else SLIDING, read_window(config) if window is not None else 0)
    unit = experts(config, *MIXTRAL_KEYS, scoring="softmax", normalised=True)
    dims = read_sizes(config, **plain_style(config, eps=1e-5, theta=1e6))
    return Blueprint(pairs([mixer] * config.layers(), unit), dims)


def _write_mixtral(traits: Traits) -> dict[str, Any]:
    window = traits.first("attention").get("window") or None
    return write(traits) | {"sliding_window": window} | write_experts(traits.first("routed"), *MIXTRAL_KEYS)


def _link_mixtral(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links)
    for i in range(len(blueprint.operators) // 2):
        layer = f"model.layers.{i}"
        link_attention(links, f"{layer}.self_attn", 2 * i)
        link_experts(links, f"{layer}.block_sparse_moe", 2 * i + 1, ("w1", "w3", "w2"))
        links.zero(selection_bias(2 * i + 1))
        link_norms(links, layer, 2 * i)


MIXTRAL_KEYS = "num_local_experts", "num_experts_per_tok", "intermediate_size"
MIXTRAL = Family(
    name="mixtral", architecture="MixtralForCausalLM", write=_write_mixtral, read=_read_mixtral, link=_link_mixtral
)


# --- Qwen3-MoE


def sparse_layers(config: Config) -> list[bool]:
    """Return, for each layer, whether its unit is one of experts."""
    step, dense = config.size("decoder_sparse_step", 1), config.places("mlp_only_layers") or []
    return [i not in dense and (i + 1) % step == 0 for i in range(config.layers())]


def write_sparse_layers(traits: Traits) -> dict[str, Any]:
    """Return which layers have a unit without experts."""
    dense = [i for i, unit in enumerate(traits.slots[1::2]) if unit["operator"] != "routed"]
    return {"decoder_sparse_step": 1, "mlp_only_layers": dense}


def _read_qwen_3_moe(config: Config) -> Blueprint:
    config.fixed(use_sliding_window=False)
    config = config.defaulting({"num_experts": config.given("num_local_experts") or 128})
    shares = config.flag("norm_topk_prob", False)
    unit = experts(config, *QWEN_KEYS, scoring="softmax", normalised=shares)
    units = [unit if one else gated_unit(config) for one in sparse_layers(config)]
    biased: dict[str, Any] = {"bias": "CBV", "out_bias": True} if config.flag("attention_bias", False) else {}
    mixer = attention(config, qk_norm="head", **biased)
    return Blueprint(pairs([mixer] * len(units), units), read_sizes(config, **plain_style(config)))


def _write_qwen_3_moe(traits: Traits) -> dict[str, Any]:
    unit = traits.first("routed")
    found = write(traits) | write_experts(unit, *QWEN_KEYS) | write_sparse_layers(traits)
    biased = has_bias(traits.first("attention"), "CBV")
    return found | {"norm_topk_prob": unit.get("normalised", True), "attention_bias": biased}


def _link_qwen_3_moe(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links)
    for i in range(len(blueprint.operators) // 2):
        layer, unit = f"model.layers.{i}", 2 * i + 1
        link_attention(links, f"{layer}.self_attn", 2 * i)
        link_qk_norms(links, f"{layer}.self_attn", 2 * i)
        if is_routed(blueprint.operators[unit]):
            link_experts(links, f"{layer}.mlp", unit)
            links.zero(selection_bias(unit))
        else:
            link_unit(links, f"{layer}.mlp", unit)
        link_norms(links, layer, 2 * i)


QWEN_KEYS = "num_experts", "num_experts_per_tok", "moe_intermediate_size"
QWEN_3_MOE = Family(
    name="qwen3_moe",
    architecture="Qwen3MoeForCausalLM",
    write=_write_qwen_3_moe,
    read=_read_qwen_3_moe,
    link=_link_qwen_3_moe,
)

FAMILIES = (
    MIXTRAL,
    QWEN_3_MOE,
)
