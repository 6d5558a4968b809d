"""Families whose maps of attention or of units are fused into one: GPT-2, GPT-NeoX, Phi-3."""

from typing import Any

from star.families.blueprint import Blueprint
from star.families.config import Config
from star.families.dense import plain_style, read, write
from star.families.family import Family, Traits
from star.families.links import SWAP, Links, by_head
from star.families.parts import (
    EQUAL_HEADS,
    FULL,
    SLIDING,
    feature,
    frame,
    gated_unit,
    link_norms,
    read_sizes,
    write_activation,
    write_rope,
    write_sizes,
)

BIASED = {"bias": "CBV", "out_bias": True}
PLAIN_UNIT = {"gate": False, "bias": "C", "out_bias": True}


def maps(slot: int, roles: str) -> list[str]:
    """Return the names of the maps of features."""
    return [feature(slot, role) for role in roles]


# --- GPT-2


def _read_gpt_2(config: Config) -> Blueprint:
    config.fixed(scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    names = {"hidden_size": "n_embd", "num_attention_heads": "n_head", "max_position_embeddings": "n_positions"}
    values = {key: config.size(theirs) for key, theirs in names.items()}
    inner = 4 * values["hidden_size"] if config.given("n_inner") is None else config.size("n_inner")
    values |= {"intermediate_size": inner, "num_key_value_heads": values["num_attention_heads"]}
    config = config.defaulting({"n_layer": 12, "activation_function": "gelu_new"}).replacing(values)
    style: dict[str, Any] = {
        "norm": "layer",
        "norm_bias": True,
        "norm_eps": config.number("layer_norm_epsilon", 1e-5),
        "positions": "learned",
        "tied": config.flag("tie_word_embeddings", True),
    }
    unit = gated_unit(config, "activation_function", **PLAIN_UNIT)
    return read(config, read_sizes(config, by_head=False, **style), [FULL] * config.layers("n_layer"), unit, **BIASED)


def _write_gpt_2(traits: Traits) -> dict[str, Any]:
    mixer, unit = traits.first("attention"), traits.first("memoryless")
    sizes = write_sizes(traits, mixer, unit)
    return {
        "vocab_size": sizes["vocab_size"],
        "n_embd": sizes["hidden_size"],
        "n_layer": sizes["num_hidden_layers"],
        "n_head": sizes["num_attention_heads"],
        "n_positions": sizes["max_position_embeddings"],
        "n_inner": sizes["intermediate_size"],
        "activation_function": write_activation(unit),
        "layer_norm_epsilon": traits.style.norm_eps,
        "tie_word_embeddings": traits.style.tied,
    }


def _link_gpt_2(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links, "transformer.wte", "transformer.ln_f")
    links.module("transformer.wpe", "positions")
    for i in range(len(blueprint.operators) // 2):
        layer, mixer, unit = f"transformer.h.{i}", 2 * i, 2 * i + 1
        links.module(f"{layer}.attn.c_attn", *maps(mixer, "CBV"), steps=(SWAP,))
        links.module(f"{layer}.attn.c_proj", f"layers.{mixer}.out", steps=(SWAP,))
        links.module(f"{layer}.mlp.c_fc", *maps(unit, "C"), steps=(SWAP,))
        links.module(f"{layer}.mlp.c_proj", f"layers.{unit}.out", steps=(SWAP,))
        link_norms(links, layer, mixer, ("ln_1", "ln_2"))


GPT_2 = Family(
    name="gpt2",
    architecture="GPT2LMHeadModel",
    write=_write_gpt_2,
    read=_read_gpt_2,
    link=_link_gpt_2,
    ignored=r"\.attn\.(masked_)?bias$",
    renames=((r"^(?=wte|wpe|h\.|ln_f)", "transformer."),),
)


# --- GPT-NeoX: attention and the unit after it read the same stream


def _read_gpt_neox(config: Config) -> Blueprint:
    config.fixed(attention_bias=True)
    base, share = config.number("rotary_emb_base", 10_000.0), config.number("rotary_pct", 0.25)
    theta, share = config.rope(base, share)
    style: dict[str, Any] = {
        "norm": "layer",
        "norm_bias": True,
        "norm_eps": config.number("layer_norm_eps", 1e-5),
        "parallel": (2,) if config.flag("use_parallel_residual", True) else (1,),
        "rope_theta": theta,
        "rotary": share,
        "tied": config.flag("tie_word_embeddings", False),
    }
    unit = gated_unit(config.defaulting({"hidden_act": "gelu"}), **PLAIN_UNIT)
    config = config.replacing({"num_key_value_heads": None})
    return read(config, read_sizes(config, by_head=False, **style), [FULL] * config.layers(), unit, **BIASED)


def _write_gpt_neox(traits: Traits) -> dict[str, Any]:
    mixer = traits.first("attention")
    found = write(traits, by_head=False, eps="layer_norm_eps") | {
        "use_parallel_residual": traits.style.parallel == (2,)
    }
    del found["num_key_value_heads"]
    return found | {"rope_parameters": write_rope(traits, mixer, share=True)}


def _link_gpt_neox(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links, "gpt_neox.embed_in", "gpt_neox.final_layer_norm", "embed_out")
    dims = blueprint.dims
    width = dims.num_heads * dims.head_dim
    for i in range(len(blueprint.operators) // 2):
        layer, mixer, unit = f"gpt_neox.layers.{i}", 2 * i, 2 * i + 1
        rows = by_head(dims.num_heads, width, width, width)
        links.module(f"{layer}.attention.query_key_value", *maps(mixer, "CBV"), rows=rows)
        links.module(f"{layer}.attention.dense", f"layers.{mixer}.out")
        links.module(f"{layer}.mlp.dense_h_to_4h", *maps(unit, "C"))
        links.module(f"{layer}.mlp.dense_4h_to_h", f"layers.{unit}.out")
        link_norms(links, layer, mixer)


GPT_NEOX = Family(
    name="gpt_neox",
    architecture="GPTNeoXForCausalLM",
    write=_write_gpt_neox,
    read=_read_gpt_neox,
    link=_link_gpt_neox,
    ignored=r"\.attention\.(rotary_emb\.inv_freq|(masked_)?bias)$",
    renames=((r"^lm_head\.", "embed_out."),),
)


# --- Phi-3


def _read_phi_3(config: Config) -> Blueprint:
    config = config.defaulting(EQUAL_HEADS)
    style: dict[str, Any] = plain_style(config, eps=1e-5)
    style["rotary"] = config.rope()[1]
    kind = FULL if config.given("sliding_window") is None else SLIDING
    return read(config, read_sizes(config, by_head=False, **style), [kind] * config.layers())


def _write_phi_3(traits: Traits) -> dict[str, Any]:
    mixer = traits.first("attention")
    return write(traits, by_head=False) | {
        "sliding_window": mixer.get("window") or None,
        "rope_parameters": write_rope(traits, mixer, share=True),
        "original_max_position_embeddings": traits.dims.seq_len,
    }


def _link_phi_3(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links)
    for i in range(len(blueprint.operators) // 2):
        layer, mixer, unit = f"model.layers.{i}", 2 * i, 2 * i + 1
        links.module(f"{layer}.self_attn.qkv_proj", *maps(mixer, "CBV"))
        links.module(f"{layer}.self_attn.o_proj", f"layers.{mixer}.out")
        links.module(f"{layer}.mlp.gate_up_proj", *maps(unit, "CV"))
        links.module(f"{layer}.mlp.down_proj", f"layers.{unit}.out")
        link_norms(links, layer, mixer)


PHI_3 = Family(name="phi3", architecture="Phi3ForCausalLM", write=_write_phi_3, read=_read_phi_3, link=_link_phi_3)

FAMILIES = (GPT_2, GPT_NEOX, PHI_3)
