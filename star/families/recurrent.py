"""Families of recurrences alone: Mamba and Mamba-2, whose operators hybrids have, too."""

from typing import Any

from star.architecture.overrides import OperatorOverrides
from star.architecture.spec import BackboneConfig, Dimensions
from star.errors import UserError
from star.families.blueprint import Blueprint
from star.families.config import Config
from star.families.facts import Facts
from star.families.family import Family, Traits
from star.families.links import Links
from star.families.parts import (
    SILU,
    feature,
    frame,
    kernels,
    link_norms,
    rates,
    taps_of,
)

CONTEXT = 2_048  # of models whose configuration has none


# --- Mamba


def mamba(config: Config, keys: dict[str, str], biased: bool, inner_norm: bool = False) -> OperatorOverrides:
    """Return Mamba's selective scan; `keys` are those of the configuration for states, rank, taps and bias."""
    hidden = config.size("hidden_size")
    rank = config.given(keys["rank"])
    taps = config.size(keys["taps"], 4)
    return OperatorOverrides(
        chained=True,
        d_inner=config.size(keys["expand"], 2) * hidden,
        d_state=config.size(keys["states"], 16),
        rank=-(-hidden // 16) if rank in (None, "auto") else config.size(keys["rank"]),
        taps=taps,
        kept_taps=taps,
        kernel_bias=config.flag(keys["kernel bias"], True),
        bias="VZ" if biased else "",
        out_bias=biased,
        inner_norm=inner_norm,
    )


def write_mamba_keys(traits: Traits, mixer: Facts, keys: dict[str, str]) -> dict[str, Any]:
    """Return the keys of Mamba's selective scan."""
    hidden = traits.dims.d_model
    return {
        keys["expand"]: max(1, mixer.get("width of V", hidden) // hidden),
        keys["states"]: mixer.get("width of B", 16),
        keys["rank"]: mixer.get("rank of A", traits.dims.latent_rank),
        keys["taps"]: taps_of(mixer),
        keys["kernel bias"]: mixer.get("kernel bias of V", False),
        keys["bias"]: mixer.get("out_bias", False),
    }


def link_mamba_mixer(links: Links, prefix: str, slot: int) -> None:
    """Link Mamba's selective scan."""
    links.module(f"{prefix}.in_proj", feature(slot, "V"), feature(slot, "Z"))
    kernels(links, f"{prefix}.conv1d", slot, "V")
    step, last = feature(slot, "A"), 1
    if f"{step}.2.weight" in links.own:  # a norm stands between
        links.module(f"{prefix}.dt_layernorm", f"{step}.1")
        for role in "BC":
            links.module(f"{prefix}.{role.lower()}_layernorm", f"layers.{slot}.featurizer.{role}.norm")
        last = 2
    links.module(f"{prefix}.x_proj", f"{step}.0", feature(slot, "B"), feature(slot, "C"))
    links.module(f"{prefix}.dt_proj", f"{step}.{last}")
    links.add(f"{prefix}.dt_proj.bias", f"layers.{slot}.mixer.step_bias")
    rates(links, prefix, slot)
    links.module(f"{prefix}.out_proj", f"layers.{slot}.out")


MAMBA_KEYS = {
    "expand": "expand",
    "states": "state_size",
    "rank": "time_step_rank",
    "taps": "conv_kernel",
    "kernel bias": "use_conv_bias",
    "bias": "use_bias",
}


def read_mamba_sizes(config: Config, tied: bool, head_dim: int) -> Dimensions:
    """Return the sizes of a model of one operator a layer; its context is what most were trained on."""
    return Dimensions(
        d_model=config.size("hidden_size"),
        head_dim=head_dim,
        vocab_size=config.size("vocab_size"),
        seq_len=CONTEXT,
        heads=1,
        style=BackboneConfig(
            norm_eps=config.number("layer_norm_epsilon", 1e-5), tied=config.flag("tie_word_embeddings", tied)
        ),
    )


def _read_mamba(config: Config) -> Blueprint:
    config.fixed(hidden_act=SILU)
    mixer = mamba(config, MAMBA_KEYS, config.flag("use_bias", False))
    config.fixed(intermediate_size=(mixer.d_inner, None))  # which follows from two others
    dims = read_mamba_sizes(config, True, config.size("hidden_size"))
    return Blueprint((("Mamba", mixer),) * config.layers(), dims)


def write_scan(traits: Traits) -> dict[str, Any]:
    """Return the keys of models of one operator a layer."""
    return {
        "vocab_size": traits.dims.vocab_size,
        "hidden_size": traits.dims.d_model,
        "num_hidden_layers": max(1, len(traits.slots)),
        "layer_norm_epsilon": traits.style.norm_eps,
        "tie_word_embeddings": traits.style.tied,
        "residual_in_fp32": False,
    }


def _link_mamba(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links, "backbone.embeddings", "backbone.norm_f")
    for i in range(len(blueprint.operators)):
        link_mamba_mixer(links, f"backbone.layers.{i}.mixer", i)
        link_norms(links, f"backbone.layers.{i}", i, ("norm",))


MAMBA = Family(
    name="mamba",
    architecture="MambaForCausalLM",
    write=lambda traits: write_scan(traits) | write_mamba_keys(traits, traits.first("selective scan"), MAMBA_KEYS),
    read=_read_mamba,
    link=_link_mamba,
)


# --- Mamba-2


def mamba_2(config: Config, keys: dict[str, str], biased: bool, **more: Any) -> OperatorOverrides:
    """Return Mamba-2's state space; `keys` are those of the configuration."""
    heads, head_dim = config.size(keys["heads"]), config.size(keys["head_dim"])
    taps = config.size(keys["taps"], 4)
    return OperatorOverrides(
        num_heads=heads,
        head_dim=head_dim,
        d_inner=heads * head_dim,
        d_state=config.size(keys["states"]),
        num_groups=config.size(keys["groups"]),
        taps=taps,
        kept_taps=taps,
        kernel_bias=config.flag(keys["kernel bias"], True),
        bias="ZVBCA" if biased else "",
        out_bias=biased,
        **more,
    )


def write_mamba_2_keys(mixer: Facts, keys: dict[str, str]) -> dict[str, Any]:
    """Return the keys of Mamba-2's state space."""
    heads, groups = mixer.get("width of A", 1), mixer.get("num_groups", 1)
    return {
        keys["heads"]: heads,
        keys["head_dim"]: mixer.get("width of V", heads) // heads,
        keys["states"]: mixer.get("width of B", groups) // groups,
        keys["groups"]: groups,
        keys["taps"]: taps_of(mixer),
        keys["kernel bias"]: mixer.get("kernel bias of V", False),
    }


def link_mamba_2_mixer(links: Links, prefix: str, slot: int) -> None:
    """Link Mamba-2's state space."""
    links.module(f"{prefix}.in_proj", *(feature(slot, role) for role in "ZVBCA"))
    kernels(links, f"{prefix}.conv1d", slot, "VBC")
    links.add(f"{prefix}.dt_bias", f"layers.{slot}.mixer.step_bias")
    rates(links, prefix, slot)
    links.module(f"{prefix}.norm", f"layers.{slot}.mixer.norm")
    links.module(f"{prefix}.out_proj", f"layers.{slot}.out")


MAMBA_2_KEYS = {
    "heads": "num_heads",
    "head_dim": "head_dim",
    "states": "state_size",
    "groups": "n_groups",
    "taps": "conv_kernel",
    "kernel bias": "use_conv_bias",
}


def _read_mamba_2(config: Config) -> Blueprint:
    config.fixed(hidden_act=SILU)
    mixer = mamba_2(config, MAMBA_2_KEYS, config.flag("use_bias", False), norm_groups=config.size("n_groups"))
    expanded = config.size("expand", 2) * config.size("hidden_size")
    if mixer.d_inner != expanded:
        raise UserError(f"num_heads times head_dim is {mixer.d_inner:,}, but expand times hidden_size {expanded:,}")
    return Blueprint((("Mamba-2", mixer),) * config.layers(), read_mamba_sizes(config, False, mixer.head_dim))


def _write_mamba_2(traits: Traits) -> dict[str, Any]:
    mixer = traits.first("state space")
    expand = max(1, mixer.get("width of V", 1) // traits.dims.d_model)
    found = write_scan(traits) | write_mamba_2_keys(mixer, MAMBA_2_KEYS)
    return found | {"expand": expand, "use_bias": mixer.get("out_bias", False)}


def _link_mamba_2(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links, "backbone.embeddings", "backbone.norm_f")
    for i in range(len(blueprint.operators)):
        link_mamba_2_mixer(links, f"backbone.layers.{i}.mixer", i)
        link_norms(links, f"backbone.layers.{i}", i, ("norm",))


MAMBA_2 = Family(
    name="mamba2", architecture="Mamba2ForCausalLM", write=_write_mamba_2, read=_read_mamba_2, link=_link_mamba_2
)

FAMILIES = (
    MAMBA,
    MAMBA_2,
)
