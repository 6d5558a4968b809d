"""RecurrentGemma: gated recurrences and attention within a window."""

from typing import Any

import numpy as np

from star.architecture.overrides import OperatorOverrides
from star.errors import UserError
from star.families.blueprint import Blueprint
from star.families.config import Config
from star.families.family import Family, Traits
from star.families.links import LESS_ONE, SWAP, Links, by_parts
from star.families.parts import (
    EQUAL_HEADS,
    SLIDING,
    attention,
    feature,
    frame,
    gated_unit,
    kernels,
    link_attention,
    link_norms,
    link_unit,
    pairs,
    read_sizes,
    read_window,
    taps_of,
    write_activation,
    write_rope,
    write_sizes,
)


def to_bfloat16(value: float) -> float:
    """Return a number rounded to bfloat16, as the family rounds the factor of its embedding."""
    bits = int(np.float32(value).view(np.uint32))
    return float(np.uint32((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32))


def _read_recurrent_gemma(config: Config) -> Blueprint:
    config = config.defaulting(EQUAL_HEADS)
    config.fixed(attention_bias=False)
    layers, hidden = config.layers(), config.size("hidden_size")
    period = config.values.get("block_types") or ["recurrent", "recurrent", "attention"]
    length = len(period) if isinstance(period, list) else 0
    period = Config({"block_types": period}).words("block_types", ("recurrent", "attention"), length)
    config = config.defaulting({"hidden_activation": "gelu_pytorch_tanh", "attention_window_size": 2_048})
    if config.size("intermediate_size") % 2:
        raise UserError("intermediate_size must be even: units have half of it")
    unit_config = config.replacing({"intermediate_size": config.size("intermediate_size") // 2})
    biased: dict[str, Any] = {"bias": "CV", "out_bias": True}
    unit = gated_unit(unit_config, "hidden_activation", **biased)
    config.word("hidden_activation", ("gelu",))
    taps = config.size("conv1d_width", 4)
    inner = hidden if config.given("lru_width") is None else config.size("lru_width")
    recurrence = OperatorOverrides(
        d_inner=inner, taps=taps, kept_taps=taps - 1, chained=True, kernel_bias=True, **biased
    )
    window = read_window(config, "attention_window_size")
    mixers = {"recurrent": ("RG-LRU", recurrence), "attention": attention(config, SLIDING, window, out_bias=True)}
    theta, share = config.rope(share=0.5)
    style: dict[str, Any] = {
        "norm_eps": config.number("rms_norm_eps", 1e-6),
        "rope_theta": theta,
        "rotary": share,
        "tied": config.flag("tie_word_embeddings", True),
        "embedding_scale": to_bfloat16(hidden**0.5),
        "logit_cap": config.number("logits_soft_cap", 30.0),
    }
    sizes = config.defaulting({"max_position_embeddings": 4 * window})
    dims = read_sizes(sizes, by_head=False, **style)
    return Blueprint(pairs([mixers[period[i % len(period)]] for i in range(layers)], unit), dims)


def _write_recurrent_gemma(traits: Traits) -> dict[str, Any]:
    mixer, unit = traits.first("attention"), traits.first("memoryless")
    recurrence = traits.first("gated recurrence")
    sizes = write_sizes(traits, mixer or recurrence, unit, by_head=False)
    kinds = ["recurrent" if one["operator"] == "gated recurrence" else "attention" for one in traits.slots[::2]]
    return sizes | {
        "intermediate_size": 2 * sizes["intermediate_size"],
        "num_key_value_heads": mixer.get("width of B", traits.dims.head_dim) // mixer.get("head_dim", 1) or 1,
        "hidden_activation": write_activation(unit),
        "rms_norm_eps": traits.style.norm_eps,
        "rope_parameters": write_rope(traits, mixer, share=True),
        "attention_window_size": mixer.get("window") or traits.dims.seq_len,
        "lru_width": recurrence.get("width of V", traits.dims.d_model),
        "conv1d_width": taps_of(recurrence),
        "logits_soft_cap": traits.style.logit_cap,
        "block_types": kinds or ["recurrent"],
    }


def _link_recurrent_gemma(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links, norm="model.final_norm", steps=(LESS_ONE,))
    split = by_parts(blueprint.dims.num_heads)
    for i, (name, _) in enumerate(blueprint.operators[::2]):
        layer, slot = f"model.layers.{i}", 2 * i
        place, mixer = f"{layer}.temporal_block", f"layers.{slot}.mixer"
        if name == "RG-LRU":
            names = {"linear_y": feature(slot, "C"), "linear_x": feature(slot, "V"), "linear_out": f"layers.{slot}.out"}
            links.modules(f"{place}.", names)
            kernels(links, f"{place}.conv_1d", slot, "V")
            links.add(f"{place}.rg_lru.recurrent_param", f"{mixer}.rate")
            for theirs, role, bias in (("input", "B", "input_bias"), ("recurrent", "A", "decay_bias")):
                gate = f"{place}.rg_lru.{theirs}_gate"
                links.add(f"{gate}_weight", f"{feature(slot, role)}.weight", steps=(SWAP,))
                links.add(f"{gate}_bias", f"{mixer}.{bias}", steps=(split,))
        else:
            link_attention(links, place, slot)
        link_unit(links, f"{layer}.mlp_block", slot + 1)
        link_norms(links, layer, slot, ("temporal_pre_norm", "channel_pre_norm"), (LESS_ONE,))


RECURRENT_GEMMA = Family(
    name="recurrent_gemma",
    architecture="RecurrentGemmaForCausalLM",
    write=_write_recurrent_gemma,
    read=_read_recurrent_gemma,
    link=_link_recurrent_gemma,
)

FAMILIES = (RECURRENT_GEMMA,)
