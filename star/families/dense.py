"""Families whose layers are attention over heads and one gated unit, each map a module of its own."""

from typing import Any

from star.architecture.spec import Dimensions
from star.errors import UserError
from star.families.blueprint import Blueprint, Operator
from star.families.config import Config
from star.families.family import Family, Traits
from star.families.links import Links
from star.families.parts import (
    EQUAL_HEADS,
    FULL,
    NOPE,
    NORMS,
    SLIDING,
    attention,
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
    write_activation,
    write_rope,
    write_sizes,
)

KINDS = (FULL, SLIDING)


def write(traits: Traits, by_head: bool = True, eps: str = "rms_norm_eps", act: str = "hidden_act") -> dict[str, Any]:
    """Return the configuration of a model as Llama's."""
    mixer, unit = traits.first("attention"), traits.first("memoryless")
    return write_sizes(traits, mixer, unit, by_head) | {
        act: write_activation(unit),
        eps: traits.style.norm_eps,
        "rope_parameters": write_rope(traits, mixer),
    }


def write_kinds(traits: Traits, two_bases: bool = False) -> dict[str, Any]:
    """Return which layers have a window; `two_bases`: of rotary frequencies, one for each kind."""
    mixers = [one for one in traits.slots if one["operator"] == "attention"]
    kinds = [SLIDING if one.get("window") else FULL for one in traits.slots[::2]]
    window = next((one["window"] for one in mixers if one["window"]), traits.dims.seq_len)  # null is refused there
    found: dict[str, Any] = {"layer_types": kinds, "sliding_window": window}
    if two_bases:
        some = {kind: next((one for one in mixers if bool(one["window"]) == (kind == SLIDING)), {}) for kind in KINDS}
        found["rope_parameters"] = {kind: write_rope(traits, one) for kind, one in some.items()}
    return found


def read(
    config: Config,
    dims: Dimensions,
    kinds: list[str],
    unit: Operator | None = None,
    windowed: dict[str, Any] | None = None,
    **more: Any,
) -> Blueprint:
    """Return a model of layers of these kinds; `more` are overrides of attention, `windowed` those within a window."""
    window = read_window(config) if SLIDING in kinds else 0
    own = {FULL: more, NOPE: more, SLIDING: more | (windowed or {})}
    mixers = [attention(config, kind, window, **own[kind]) for kind in kinds]
    return Blueprint(pairs(mixers, unit or gated_unit(config)), dims)


def link(links: Links, blueprint: Blueprint, config: Config, norms: tuple[str, ...] = NORMS) -> None:
    """Link the weights of a model with Llama's names."""
    frame(links)
    for i in range(len(blueprint.operators) // 2):
        layer = f"model.layers.{i}"
        link_attention(links, f"{layer}.self_attn", 2 * i)
        link_unit(links, f"{layer}.mlp", 2 * i + 1)
        link_norms(links, layer, 2 * i, norms)


def link_normed(links: Links, blueprint: Blueprint, config: Config, norms: tuple[str, ...] = NORMS) -> None:
    """Link the weights of a model with Llama's names and norms of queries and keys."""
    link(links, blueprint, config, norms)
    for i in range(len(blueprint.operators) // 2):
        link_qk_norms(links, f"model.layers.{i}.self_attn", 2 * i)


def read_kinds(config: Config, default: list[str], kinds: tuple[str, ...] = KINDS) -> list[str]:
    """Return the kind of every layer."""
    return config.words("layer_types", kinds, len(default), default)


def plain_style(
    config: Config, eps: float = 1e-6, tied: bool = False, theta: float = 10_000.0, **more: Any
) -> dict[str, Any]:
    """Return the style of models with RMS norms and rotary positions."""
    base, _ = config.rope(theta)
    return {
        "norm_eps": config.number("rms_norm_eps", eps),
        "rope_theta": base,
        "tied": config.flag("tie_word_embeddings", tied),
        **more,
    }


# --- Llama


def _read_llama(config: Config) -> Blueprint:
    config = config.defaulting(EQUAL_HEADS)
    biased: dict[str, Any] = {"bias": "CBV", "out_bias": True} if config.flag("attention_bias", False) else {}
    unit = gated_unit(config, **({"bias": "CV", "out_bias": True} if config.flag("mlp_bias", False) else {}))
    dims = read_sizes(config, **plain_style(config))
    return read(config, dims, [FULL] * config.layers(), unit, **biased)


def _write_llama(traits: Traits) -> dict[str, Any]:
    mixer, unit = traits.first("attention"), traits.first("memoryless")
    biases = {"attention_bias": has_bias(mixer, "CBV"), "mlp_bias": has_bias(unit, "CV")}
    return write(traits) | biases


LLAMA = Family(
    name="llama",
    architecture="LlamaForCausalLM",
    write=_write_llama,
    read=_read_llama,
    link=link,
)


# --- Mistral


def _read_mistral(config: Config) -> Blueprint:
    window = config.values.get("sliding_window", 4096)
    kind = FULL if window is None else SLIDING
    config = config.replacing({"sliding_window": window})
    return read(config, read_sizes(config, **plain_style(config)), [kind] * config.layers())


MISTRAL = Family(
    name="mistral",
    architecture="MistralForCausalLM",
    write=lambda traits: write(traits) | {"sliding_window": traits.first("attention").get("window") or None},
    read=_read_mistral,
    link=link,
)


# --- SmolLM3: layers without positions


def _read_smollm_3(config: Config) -> Blueprint:
    layers = config.layers()
    config.fixed(use_sliding_window=False, attention_bias=False, mlp_bias=False)
    interval = config.size("no_rope_layer_interval", 4)
    rotated = config.places("no_rope_layers") or [int((i + 1) % interval != 0) for i in range(layers)]
    if len(rotated) != layers or not set(rotated) <= {0, 1}:
        raise UserError(f"no_rope_layers must be a list of {layers} numbers, each 0 or 1, not {rotated!r:.40}")
    style: dict[str, Any] = plain_style(config, tied=True, theta=2e6)
    return read(config, read_sizes(config, by_head=False, **style), [FULL if one else NOPE for one in rotated])


SMOLLM_3 = Family(
    name="smollm3",
    architecture="SmolLM3ForCausalLM",
    write=lambda traits: (
        write(traits, by_head=False)
        | {"no_rope_layers": [int(one.get("positions") != "none") for one in traits.slots[::2]]}
    ),
    read=_read_smollm_3,
    link=link,
)


# --- Granite: factors


def _read_granite(config: Config) -> Blueprint:
    config = config.defaulting(EQUAL_HEADS)
    config.fixed(attention_bias=False, mlp_bias=False)
    divisor = config.number("logits_scaling", 1.0)
    if not divisor:
        raise UserError("logits_scaling must not be 0")
    style: dict[str, Any] = plain_style(
        config,
        embedding_scale=config.number("embedding_multiplier", 1.0),
        residual_scale=config.number("residual_multiplier", 1.0),
        logit_scale=1 / divisor,
    )
    scale = config.number("attention_multiplier", 1.0)
    return read(config, read_sizes(config, by_head=False, **style), [FULL] * config.layers(), score_scale=scale)


def _write_granite(traits: Traits) -> dict[str, Any]:
    style = traits.style
    return write(traits, by_head=False) | {
        "embedding_multiplier": style.embedding_scale,
        "residual_multiplier": style.residual_scale,
        "logits_scaling": 1 / style.logit_scale,
        "attention_multiplier": traits.first("attention").get("score_scale", 1.0),
    }


GRANITE = Family(
    name="granite",
    architecture="GraniteForCausalLM",
    write=_write_granite,
    read=_read_granite,
    link=link,
)


# --- Seed-OSS: a bias of the map back that is told apart


def _read_seed_oss(config: Config) -> Blueprint:
    config.fixed(mlp_bias=False)
    biased: dict[str, Any] = {"bias": "CBV"} if config.flag("attention_bias", True) else {}
    out_bias = config.flag("attention_out_bias", False)
    dims = read_sizes(config, **plain_style(config))
    return read(config, dims, [FULL] * config.layers(), out_bias=out_bias, **biased)


def _write_seed_oss(traits: Traits) -> dict[str, Any]:
    mixer = traits.first("attention")
    return write(traits) | {
        "attention_bias": has_bias(mixer, "CBV"),
        "attention_out_bias": mixer.get("out_bias", False),
    }


SEED_OSS = Family(
    name="seed_oss",
    architecture="SeedOssForCausalLM",
    write=_write_seed_oss,
    read=_read_seed_oss,
    link=link,
)

FAMILIES = (LLAMA, MISTRAL, SMOLLM_3, GRANITE, SEED_OSS)
