"""ERNIE 4.5: experts with softmax scores and a bias that chooses; pairs of rotated channels lie beside each other."""

from typing import Any

from star.families.blueprint import Blueprint
from star.families.config import Config
from star.families.dense import plain_style, write
from star.families.experts import experts, is_routed, link_experts, link_shared, selection_bias, write_experts
from star.families.family import Family, Traits
from star.families.links import FIRST, Links, paired
from star.families.parts import (
    attention,
    feature,
    frame,
    gated_unit,
    link_attention,
    link_norms,
    link_unit,
    pairs,
    read_sizes,
)


def _read_ernie(config: Config) -> Blueprint:
    config.fixed(use_bias=False)
    width = config.size("moe_intermediate_size")
    shared = config.size("moe_num_shared_experts", 2, least=0) * width
    more: dict[str, Any] = {"scoring": "softmax", "normalised": True, "selection_bias": True}
    unit = experts(config, *ERNIE_KEYS, d_shared=shared, **more)
    layers, step = config.layers(), config.size("moe_layer_interval", 1)
    first = config.size("moe_layer_start_index", 1, least=0)
    last = config.size("moe_layer_end_index", layers - 1, least=-1)
    last = layers - 1 if last == -1 else last
    units = [unit if (i + 1) % step == 0 and first <= i <= last else gated_unit(config) for i in range(layers)]
    dims = read_sizes(config, by_head=False, **plain_style(config, eps=1e-5, tied=True, theta=500_000.0))
    return Blueprint(pairs([attention(config)] * layers, units), dims)


def _write_ernie(traits: Traits) -> dict[str, Any]:
    unit, routed = traits.first("routed"), [one["operator"] == "routed" for one in traits.slots[1::2]]
    places = [i for i, one in enumerate(routed) if one] or [len(routed), 0]
    found = write(traits, by_head=False) | write_experts(unit, *ERNIE_KEYS)
    return found | {
        "intermediate_size": traits.first("memoryless").get("width of C", 4 * traits.dims.d_model),
        "moe_num_shared_experts": unit.get("width of S", 0) // unit.get("width of C", 1),
        "moe_layer_start_index": places[0],
        "moe_layer_end_index": places[-1],
        "moe_layer_interval": 1,
    }


def _link_ernie(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links)
    heads, head_dim = blueprint.dims.num_heads, blueprint.dims.head_dim
    for i in range(len(blueprint.operators) // 2):
        layer, unit = f"model.layers.{i}", 2 * i + 1
        kept = links.own[f"{feature(2 * i, 'B')}.weight"][0] // head_dim
        rows = {
            "C": paired(heads, head_dim, head_dim),
            "B": paired(kept, head_dim, head_dim),
        }
        link_attention(links, f"{layer}.self_attn", 2 * i, rows=rows)
        if is_routed(blueprint.operators[unit]):
            link_experts(links, f"{layer}.mlp", unit)
            link_shared(links, f"{layer}.mlp.shared_experts", unit)
            links.add(f"{layer}.mlp.moe_statics.e_score_correction_bias", selection_bias(unit), steps=(FIRST,))
        else:
            link_unit(links, f"{layer}.mlp", unit)
        link_norms(links, layer, 2 * i)


ERNIE_KEYS = "moe_num_experts", "moe_k", "moe_intermediate_size"
ERNIE = Family(
    name="ernie4_5_moe",
    architecture="Ernie4_5_MoeForCausalLM",
    write=_write_ernie,
    read=_read_ernie,
    link=_link_ernie,
    renames=((r"\.gate\.moe_statics\.", ".moe_statics."),),
)

FAMILIES = (ERNIE,)
