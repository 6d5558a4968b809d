"""Qwen2 and Qwen3: biases or norms of queries and keys, and a window in the layers from some on."""

from typing import Any

from star.errors import UserError
from star.families.blueprint import Blueprint
from star.families.config import Config
from star.families.dense import link, link_normed, plain_style, read, read_kinds, write, write_kinds
from star.families.family import Family, Traits
from star.families.parts import (
    FULL,
    SLIDING,
    has_bias,
    read_sizes,
)


def qwen_kinds(config: Config) -> list[str]:
    """Return the kind of every layer, of which those from `max_window_layers` on have a window if any has."""
    layers = config.layers()
    if not config.flag("use_sliding_window", False) or config.given("sliding_window") is None:
        if SLIDING in read_kinds(config, [FULL] * layers):
            raise UserError("layer_types has layers with a window, but use_sliding_window is false")
        return [FULL] * layers
    first = config.size("max_window_layers", 28, least=0)
    return read_kinds(config, [SLIDING if i >= first else FULL for i in range(layers)])


def write_qwen(traits: Traits, by_head: bool) -> dict[str, Any]:
    """Return the configuration with its switch for windows."""
    found = write(traits, by_head) | write_kinds(traits)
    is_used = SLIDING in found["layer_types"]
    return found | {"use_sliding_window": is_used, "sliding_window": found["sliding_window"] if is_used else None}


def _read_qwen_2(config: Config) -> Blueprint:
    config = config.defaulting({"sliding_window": 4096})
    dims = read_sizes(config, by_head=False, **plain_style(config))
    return read(config, dims, qwen_kinds(config), bias="CBV")


def _read_qwen_3(config: Config) -> Blueprint:
    config = config.defaulting({"head_dim": 128, "sliding_window": 4096})
    biased: dict[str, Any] = {"bias": "CBV", "out_bias": True} if config.flag("attention_bias", False) else {}
    return read(config, read_sizes(config, **plain_style(config)), qwen_kinds(config), qk_norm="head", **biased)


QWEN_2 = Family(
    name="qwen2",
    architecture="Qwen2ForCausalLM",
    write=lambda traits: write_qwen(traits, by_head=False),
    read=_read_qwen_2,
    link=link,
)
QWEN_3 = Family(
    name="qwen3",
    architecture="Qwen3ForCausalLM",
    write=lambda traits: (
        write_qwen(traits, by_head=True) | {"attention_bias": has_bias(traits.first("attention"), "CBV")}
    ),
    read=_read_qwen_3,
    link=link_normed,
)

FAMILIES = (QWEN_2, QWEN_3)
