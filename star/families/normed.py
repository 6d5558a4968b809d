"""Families whose norms stand elsewhere or have no gains: OLMo 2 and 3, Hunyuan, nanochat, BitNet, Apertus."""

from functools import partial
from typing import Any

import numpy as np

from star.architecture.overrides import OperatorOverrides
from star.families.blueprint import Blueprint
from star.families.config import Config
from star.families.dense import link, link_normed, plain_style, read, read_kinds, write, write_kinds
from star.families.family import Family
from star.families.links import Links, halves_swapped
from star.families.parts import (
    EQUAL_HEADS,
    FULL,
    SLIDING,
    feature,
    frame,
    gated_unit,
    link_attention,
    link_norms,
    link_qk_norms,
    link_unit,
    read_sizes,
)

AFTER = ("post_attention_layernorm", "post_feedforward_layernorm")


# --- OLMo 2 and 3: norms after


def _read_olmo_2(config: Config) -> Blueprint:
    config = config.defaulting(EQUAL_HEADS)
    config.fixed(attention_bias=False)
    style: dict[str, Any] = plain_style(config, eps=1e-5, norm_place="after")
    return read(config, read_sizes(config, by_head=False, **style), [FULL] * config.layers(), qk_norm="all")


def _read_olmo_3(config: Config) -> Blueprint:
    config = config.defaulting(EQUAL_HEADS)
    config.fixed(attention_bias=False)
    kinds = read_kinds(config, [SLIDING if (i + 1) % 4 else FULL for i in range(config.layers())])
    config = config.defaulting({"sliding_window": 4096})
    full, windowed = (config.rope(500_000.0, kind=kind)[0] for kind in (FULL, SLIDING))
    style: dict[str, Any] = plain_style(config, eps=1e-5, norm_place="after") | {"rope_theta": full}
    dims = read_sizes(config, by_head=False, **style)
    return read(config, dims, kinds, windowed={"rope_theta": 0.0 if windowed == full else windowed}, qk_norm="all")


OLMO_2 = Family(
    name="olmo2",
    architecture="Olmo2ForCausalLM",
    write=lambda traits: write(traits, by_head=False),
    read=_read_olmo_2,
    link=partial(link_normed, norms=AFTER),
)
OLMO_3 = Family(
    name="olmo3",
    architecture="Olmo3ForCausalLM",
    write=lambda traits: write(traits, by_head=False) | write_kinds(traits, two_bases=True),
    read=_read_olmo_3,
    link=partial(link_normed, norms=AFTER),
)


# --- Hunyuan: norms of queries and keys after the rotation


def _read_hunyuan(config: Config) -> Blueprint:
    config = config.defaulting(EQUAL_HEADS)
    config.fixed(attention_bias=False)
    dims = read_sizes(config, **plain_style(config, eps=1e-5))
    return read(config, dims, [FULL] * config.layers(), qk_norm="head", qk_norm_place="after rotation")


def _link_hunyuan(links: Links, blueprint: Blueprint, config: Config) -> None:
    link(links, blueprint, config)
    for i in range(len(blueprint.operators) // 2):
        for role, name in (("C", "query"), ("B", "key")):
            theirs = f"model.layers.{i}.self_attn.{name}_layernorm.weight"
            links.add(theirs, f"layers.{2 * i}.mixer.gains.{role}")


HUNYUAN = Family(
    name="hunyuan_v1_dense",
    architecture="HunYuanDenseV1ForCausalLM",
    write=write,
    read=_read_hunyuan,
    link=_link_hunyuan,
)


# --- nanochat: no gains, a norm of the embedding


def _read_nanochat(config: Config) -> Blueprint:
    config.fixed(attention_bias=False, hidden_act="relu2")
    style: dict[str, Any] = plain_style(config, norm_gain=False, embedding_norm=True)
    values = config.defaulting({"final_logit_softcapping": 15.0})
    style["logit_cap"] = values.number("final_logit_softcapping", 0.0)
    normed: dict[str, Any] = {"qk_norm": "head", "qk_norm_gain": False, "qk_norm_place": "after rotation"}
    unit = ("ReLU2", OperatorOverrides(d_ff=config.size("intermediate_size")))
    return read(config, read_sizes(config, by_head=False, **style), [FULL] * config.layers(), unit, **normed)


def _link_nanochat(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links)
    heads, head_dim = blueprint.dims.num_heads, blueprint.dims.head_dim
    for i in range(len(blueprint.operators) // 2):
        kept = links.own[f"{feature(2 * i, 'B')}.weight"][0] // head_dim
        # Turned the other way round there, as heads are whose halves change places.
        rows = {"C": halves_swapped(heads, head_dim), "B": halves_swapped(kept, head_dim)}
        link_attention(links, f"model.layers.{i}.self_attn", 2 * i, rows=rows)
        link_unit(links, f"model.layers.{i}.mlp", 2 * i + 1, ("fc1", "fc2"))


NANOCHAT = Family(
    name="nanochat",
    architecture="NanoChatForCausalLM",
    write=lambda traits: write(traits, by_head=False) | {"final_logit_softcapping": traits.style.logit_cap or None},
    read=_read_nanochat,
    link=_link_nanochat,
)


# --- BitNet: norms before the maps back


def _read_bitnet(config: Config) -> Blueprint:
    config.fixed(attention_bias=False, quantization_config=None)
    unit = gated_unit(config.defaulting({"hidden_act": "relu2"}), out_norm=True)
    dims = read_sizes(config, by_head=False, **plain_style(config, eps=1e-5, theta=500_000.0))
    return read(config, dims, [FULL] * config.layers(), unit, out_norm=True)


def _link_bitnet(links: Links, blueprint: Blueprint, config: Config) -> None:
    link(links, blueprint, config)
    for i in range(len(blueprint.operators) // 2):
        links.module(f"model.layers.{i}.self_attn.attn_sub_norm", f"layers.{2 * i}.mixer.norm")
        links.module(f"model.layers.{i}.mlp.ffn_sub_norm", f"layers.{2 * i + 1}.mixer.norm")


BITNET = Family(
    name="bitnet",
    architecture="BitNetForCausalLM",
    write=lambda traits: write(traits, by_head=False),
    read=_read_bitnet,
    link=_link_bitnet,
)

# --- Apertus: units without a gate, whose activation has two numbers in each layer


def _read_apertus(config: Config) -> Blueprint:
    config = config.defaulting(EQUAL_HEADS)
    config.fixed(attention_bias=False, hidden_act="xielu")
    style = plain_style(config, eps=1e-5, theta=12_000_000.0)
    unit = (XIELU, OperatorOverrides(d_ff=config.size("intermediate_size")))
    return read(config, read_sizes(config, by_head=False, **style), [FULL] * config.layers(), unit, qk_norm="head")


def _link_apertus(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links)
    for i in range(len(blueprint.operators) // 2):
        layer, unit = f"model.layers.{i}", 2 * i + 1
        link_attention(links, f"{layer}.self_attn", 2 * i)
        link_qk_norms(links, f"{layer}.self_attn", 2 * i)
        link_unit(links, f"{layer}.mlp", unit, ("up_proj", "down_proj"))
        link_norms(links, layer, 2 * i, ("attention_layernorm", "feedforward_layernorm"))
        for theirs, ours in (("alpha_p", "positive"), ("alpha_n", "negative")):
            links.add(f"{layer}.mlp.act_fn.{theirs}", f"layers.{unit}.mixer.activation.{ours}")
        for theirs, value in XIELU_CONSTANTS.items():
            links.constants[f"{layer}.mlp.act_fn.{theirs}"] = np.array(value, dtype=np.float32)


XIELU = "11182,1241"
XIELU_CONSTANTS = {"beta": 0.5, "eps": -1e-6}
APERTUS = Family(
    name="apertus",
    architecture="ApertusForCausalLM",
    write=lambda traits: write(traits, by_head=False) | {"hidden_act": "xielu"},
    read=_read_apertus,
    link=_link_apertus,
)

FAMILIES = (OLMO_2, OLMO_3, HUNYUAN, NANOCHAT, BITNET, APERTUS)
