"""Families with layer norms and separate maps: StableLM, Cohere."""

from typing import Any

from star.families.blueprint import Blueprint
from star.families.config import Config
from star.families.dense import link, read, write
from star.families.family import Family, Traits
from star.families.links import Links, paired
from star.families.parts import (
    EQUAL_HEADS,
    FULL,
    NORMS,
    feature,
    frame,
    has_bias,
    link_attention,
    link_norms,
    link_unit,
    read_sizes,
    write_rope,
)


def layer_style(config: Config, tied: bool, **more: Any) -> dict[str, Any]:
    """Return the style of models with layer norms."""
    return {
        "norm": "layer",
        "norm_eps": config.number("layer_norm_eps", 1e-5),
        "tied": config.flag("tie_word_embeddings", tied),
        **more,
    }


def _read_stablelm(config: Config) -> Blueprint:
    config.fixed(use_parallel_residual=False, qk_layernorm=False)
    theta, share = config.rope(share=0.25)
    style = layer_style(config, tied=False, norm_bias=True, rope_theta=theta, rotary=share)
    biased: dict[str, Any] = {"bias": "CBV"} if config.flag("use_qkv_bias", False) else {}
    return read(config, read_sizes(config, by_head=False, **style), [FULL] * config.layers(), **biased)


def _write_stablelm(traits: Traits) -> dict[str, Any]:
    mixer = traits.first("attention")
    found = write(traits, by_head=False, eps="layer_norm_eps") | {
        "rope_parameters": write_rope(traits, mixer, share=True)
    }
    return found | {"use_qkv_bias": has_bias(mixer, "CBV")}


STABLELM = Family(
    name="stablelm",
    architecture="StableLmForCausalLM",
    write=_write_stablelm,
    read=_read_stablelm,
    link=link,
)


def _read_cohere(config: Config) -> Blueprint:
    config = config.defaulting(EQUAL_HEADS)
    config.fixed(attention_bias=False, use_qk_norm=False)
    scale = config.number("logit_scale", 0.0625)
    theta, _ = config.rope(500_000.0)
    style = layer_style(config, tied=True, parallel=(2,), shared_norm=True, logit_scale=scale, rope_theta=theta)
    return read(config, read_sizes(config, by_head=False, **style), [FULL] * config.layers())


def _link_cohere(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links)
    heads, head_dim = blueprint.dims.num_heads, blueprint.dims.head_dim
    for i in range(len(blueprint.operators) // 2):
        layer = f"model.layers.{i}"
        kept = links.own[f"{feature(2 * i, 'B')}.weight"][0] // head_dim
        rows = {"C": paired(heads, head_dim, head_dim), "B": paired(kept, head_dim, head_dim)}
        link_attention(links, f"{layer}.self_attn", 2 * i, rows=rows)
        link_unit(links, f"{layer}.mlp", 2 * i + 1)
        link_norms(links, layer, 2 * i, NORMS[:1])


COHERE = Family(
    name="cohere",
    architecture="CohereForCausalLM",
    write=lambda traits: write(traits, by_head=False, eps="layer_norm_eps") | {"logit_scale": traits.style.logit_scale},
    read=_read_cohere,
    link=_link_cohere,
)

FAMILIES = (
    STABLELM,
    COHERE,
)
