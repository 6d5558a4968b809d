"""DeepSeek-V3: latent attention, and experts that a bias chooses."""

from typing import Any

from star.architecture.overrides import OperatorOverrides
from star.errors import UserError
from star.families.blueprint import Blueprint
from star.families.config import Config
from star.families.dense import plain_style, write
from star.families.experts import experts, is_routed, link_experts, link_shared, selection_bias, write_experts
from star.families.family import Family, Traits
from star.families.links import Links, by_head, paired
from star.families.parts import (
    check_eps,
    feature,
    frame,
    gated_unit,
    link_norms,
    link_unit,
    pairs,
    read_sizes,
)

EPS_OF_LATENTS = 1e-6  # of norms of latents, whatever a configuration says


def _read_deepseek_v3(config: Config) -> Blueprint:
    config.fixed(attention_bias=False)
    groups, kept = config.size("n_group", 8), config.size("topk_group", 4)
    if groups > 1 and kept < groups and config.size("first_k_dense_replace", 3, least=0) < config.layers():
        raise UserError(f"n_group is {groups} and topk_group {kept}: experts in groups have no counterpart here")
    style: dict[str, Any] = plain_style(config)
    check_eps(style["norm_eps"], EPS_OF_LATENTS, "norms of latents")
    rank = 0 if config.values.get("q_lora_rank", 1536) is None else config.size("q_lora_rank")
    latent = OperatorOverrides(
        head_dim=config.size("qk_nope_head_dim"),
        rope_head_dim=config.size("qk_rope_head_dim"),
        value_head_dim=config.size("v_head_dim"),
        latent_dim=config.size("kv_lora_rank"),
        rank=rank,
        inner_norm=bool(rank),
    )
    shared = config.size("n_shared_experts", 1) * config.size("moe_intermediate_size")
    scale, shares = config.number("routed_scaling_factor", 2.5), config.flag("norm_topk_prob", True)
    unit = experts(config, *DEEPSEEK_KEYS, d_shared=shared, routed_scale=scale, normalised=shares)
    first = config.size("first_k_dense_replace", 3, least=0)
    units = [gated_unit(config) if i < first else unit for i in range(config.layers())]
    # Heads of queries and keys are wider than the model's share of a head, and told by the class.
    sizes = config.replacing({"head_dim": latent.head_dim})
    return Blueprint(pairs([("MLA", latent)] * len(units), units), read_sizes(sizes, **style))


def _write_deepseek_v3(traits: Traits) -> dict[str, Any]:
    mixer, unit = traits.first("latent attention"), traits.first("routed")
    dense, width = traits.first("memoryless"), unit.get("width of C", 1)
    is_dense = [one["operator"] == "memoryless" for one in traits.slots[1::2]]
    first = is_dense.index(False) if False in is_dense else len(is_dense)
    found = write(traits, by_head=False) | write_experts(unit, *DEEPSEEK_KEYS)
    heads = mixer.get("heads", traits.dims.num_heads)
    return found | {
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "intermediate_size": dense.get("width of C", 4 * traits.dims.d_model),
        "qk_nope_head_dim": mixer.get("head_dim", 1),
        "qk_rope_head_dim": mixer.get("rotated part", 2),
        "v_head_dim": mixer.get("value_head_dim", 1),
        "kv_lora_rank": mixer.get("width of V", 1),
        "q_lora_rank": mixer.get("rank of C"),
        "n_shared_experts": max(1, unit.get("width of S", 0) // width),
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": first,
        "routed_scaling_factor": unit.get("routed_scale", 1.0),
        "norm_topk_prob": unit.get("normalised", True),
        "rope_interleave": True,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": mixer.get("rope_theta", traits.style.rope_theta),
        },
    }


def _link_deepseek_v3(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links)
    heads, apart = blueprint.dims.num_heads, config.flag("rope_interleave", True)
    latent = blueprint.operators[0][1]
    plain, turned, wide = latent.head_dim, latent.rope_head_dim, latent.value_head_dim
    queries = paired(heads, plain + turned, turned, plain) if apart else None
    keys = paired(1, latent.latent_dim + turned, turned, latent.latent_dim) if apart else None
    for i in range(len(blueprint.operators) // 2):
        layer, slot, unit = f"model.layers.{i}", f"layers.{2 * i}", 2 * i + 1
        place = f"{layer}.self_attn"
        if latent.rank:
            links.module(f"{place}.q_a_proj", f"{feature(2 * i, 'C')}.0")
            links.module(f"{place}.q_a_layernorm", f"{feature(2 * i, 'C')}.1")
            links.module(f"{place}.q_b_proj", f"{feature(2 * i, 'C')}.2", rows=queries)
        else:
            links.module(f"{place}.q_proj", feature(2 * i, "C"), rows=queries)
        links.module(f"{place}.kv_a_proj_with_mqa", feature(2 * i, "V"), feature(2 * i, "B"), rows=keys)
        links.module(f"{place}.kv_a_layernorm", f"{slot}.featurizer.V.norm")
        rows = by_head(heads, heads * plain, heads * wide)
        links.module(f"{place}.kv_b_proj", f"{slot}.mixer.up_key", f"{slot}.mixer.up_value", rows=rows)
        links.module(f"{place}.o_proj", f"{slot}.out")
        if is_routed(blueprint.operators[unit]):
            link_experts(links, f"{layer}.mlp", unit)
            link_shared(links, f"{layer}.mlp.shared_experts", unit)
            links.add(f"{layer}.mlp.gate.e_score_correction_bias", selection_bias(unit))
        else:
            link_unit(links, f"{layer}.mlp", unit)
        link_norms(links, layer, 2 * i)


DEEPSEEK_KEYS = "n_routed_experts", "num_experts_per_tok", "moe_intermediate_size"
DEEPSEEK_V3 = Family(
    name="deepseek_v3",
    architecture="DeepseekV3ForCausalLM",
    write=_write_deepseek_v3,
    read=_read_deepseek_v3,
    link=_link_deepseek_v3,
)

FAMILIES = (DEEPSEEK_V3,)
