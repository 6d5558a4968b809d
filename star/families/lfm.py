"""LFM2: gated convolutions and attention."""

from typing import Any

from star.architecture.overrides import OperatorOverrides
from star.families.blueprint import Blueprint
from star.families.config import Config
from star.families.dense import plain_style
from star.families.family import Family, Traits
from star.families.links import KERNEL, Links
from star.families.parts import (
    FULL,
    attention,
    feature,
    frame,
    gated_unit,
    link_attention,
    link_norms,
    link_qk_norms,
    link_unit,
    pairs,
    read_sizes,
    taps_of,
    write_rope,
    write_sizes,
)


def _read_lfm_2(config: Config) -> Blueprint:
    config.fixed(conv_bias=False)
    layers = config.layers()
    values = {"rms_norm_eps": config.number("norm_eps", 1e-5)}
    for key, old in (("intermediate_size", "block_ff_dim"), ("tie_word_embeddings", "tie_embedding")):
        if config.given(old) is not None:
            values[key] = config.given(old)
    config = config.replacing(values)
    places = config.places("full_attn_idxs")
    kinds = [FULL if places is None or i in places else "conv" for i in range(layers)]
    kinds = config.words("layer_types", (FULL, "conv"), layers, kinds)
    taps = config.size("conv_L_cache", 3)
    mixers = {
        FULL: attention(config, qk_norm="head"),
        "conv": ("GConv-1", OperatorOverrides(taps=taps, kept_taps=taps)),
    }
    unit = gated_unit(config.replacing({"intermediate_size": lfm_2_width(config)}))
    dims = read_sizes(config, by_head=False, **plain_style(config, tied=True, theta=1e6))
    return Blueprint(pairs([mixers[kind] for kind in kinds], unit), dims)


def lfm_2_width(config: Config) -> int:
    """Return the width of units, which a configuration may give before it is adjusted."""
    width = config.size("intermediate_size")
    if not config.flag("block_auto_adjust_ff_dim", True):
        return width
    width = 2 * width // 3
    if "block_ffn_dim_multiplier" in config.values and config.given("block_ffn_dim_multiplier") is None:
        return width
    multiple = config.size("block_multiple_of", 256)
    return multiple * -(-int(config.number("block_ffn_dim_multiplier", 1.0) * width) // multiple)


def _write_lfm_2(traits: Traits) -> dict[str, Any]:
    mixer = traits.first("attention")
    found = write_sizes(traits, mixer, traits.first("memoryless"), by_head=False)
    kinds = [FULL if one["operator"] == "attention" else "conv" for one in traits.slots[::2]]
    return found | {
        "norm_eps": traits.style.norm_eps,
        "rope_parameters": write_rope(traits, mixer),
        "conv_L_cache": taps_of(traits.first("convolution"), "K"),
        "block_auto_adjust_ff_dim": False,
        "layer_types": kinds,
    }


def _link_lfm_2(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links, norm="model.embedding_norm")
    for i in range(len(blueprint.operators) // 2):
        layer, slot = f"model.layers.{i}", 2 * i
        if blueprint.operators[slot][0] == "GConv-1":
            links.module(f"{layer}.conv.in_proj", *(feature(slot, role) for role in "BCV"))
            links.add(f"{layer}.conv.conv.weight", f"layers.{slot}.featurizer.K.kernel", steps=KERNEL)
            links.module(f"{layer}.conv.out_proj", f"layers.{slot}.out")
        else:
            link_attention(links, f"{layer}.self_attn", slot, "out_proj")
            link_qk_norms(links, f"{layer}.self_attn", slot, ("q_layernorm", "k_layernorm"))
        link_unit(links, f"{layer}.feed_forward", slot + 1, ("w1", "w3", "w2"))
        link_norms(links, layer, slot, ("operator_norm", "ffn_norm"))


LFM_2 = Family(name="lfm2", architecture="Lfm2ForCausalLM", write=_write_lfm_2, read=_read_lfm_2, link=_link_lfm_2)

FAMILIES = (LFM_2,)
