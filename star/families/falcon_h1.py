"""Falcon-H1: Mamba-2 and attention side by side, then a gated unit."""

from typing import Any

from star.errors import UserError
from star.families.blueprint import Blueprint, Operator
from star.families.config import Config
from star.families.dense import plain_style, write
from star.families.family import Family, Traits
from star.families.links import Links
from star.families.parts import (
    attention,
    frame,
    gated_unit,
    link_attention,
    link_norms,
    link_unit,
    read_sizes,
)
from star.families.recurrent import (
    link_mamba_2_mixer,
    mamba_2,
    write_mamba_2_keys,
)

FALCON_KEYS = {
    "heads": "mamba_n_heads",
    "head_dim": "mamba_d_head",
    "states": "mamba_d_state",
    "groups": "mamba_n_groups",
    "taps": "mamba_d_conv",
    "kernel bias": "mamba_conv_bias",
}
FACTORS = (
    "key_multiplier",
    "attention_in_multiplier",
    "attention_out_multiplier",
    "ssm_in_multiplier",
    "ssm_out_multiplier",
)


def _read_falcon_h1(config: Config) -> Blueprint:
    config.fixed(
        attention_bias=False, mlp_bias=False, projectors_bias=False, mamba_proj_bias=False, mamba_rms_norm=False
    )
    config.fixed(**dict.fromkeys(FACTORS, 1.0), mlp_multipliers=([1.0] * 2, None), ssm_multipliers=([1.0] * 5, None))
    width = config.given("mamba_d_ssm")
    config = config.defaulting({"mamba_n_groups": 1})
    if config.given("mamba_d_head") in (None, "auto"):
        config = config.replacing({"mamba_d_head": config.size("mamba_d_ssm") // config.size("mamba_n_heads")})
    space = mamba_2(config, FALCON_KEYS, False, out_norm=False)
    if width is not None and width != space.d_inner:
        raise UserError(f"mamba_d_ssm is {width!r:.40}, but its heads have {space.d_inner:,} channels")
    style: dict[str, Any] = plain_style(
        config,
        eps=1e-5,
        parallel=(2, 1),
        shared_norm=True,
        embedding_scale=config.number("embedding_multiplier", 1.0),
        logit_scale=config.number("lm_head_multiplier", 1.0),
    )
    layer: tuple[Operator, ...] = ("Mamba-2", space), attention(config), gated_unit(config)
    return Blueprint(layer * config.layers(), read_sizes(config, **style))


def _write_falcon_h1(traits: Traits) -> dict[str, Any]:
    space = traits.first("state space")
    found = write(traits) | write_mamba_2_keys(space, FALCON_KEYS)
    return found | {
        "num_hidden_layers": traits.layers(3),
        "mamba_d_ssm": space.get("width of V", 1),
        "embedding_multiplier": traits.style.embedding_scale,
        "lm_head_multiplier": traits.style.logit_scale,
    }


def _link_falcon_h1(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links, norm="model.final_layernorm")
    for i in range(len(blueprint.operators) // 3):
        layer, slot = f"model.layers.{i}", 3 * i
        link_mamba_2_mixer(links, f"{layer}.mamba", slot)
        link_attention(links, f"{layer}.self_attn", slot + 1)
        link_unit(links, f"{layer}.feed_forward", slot + 2)
        link_norms(links, layer, slot, ("input_layernorm",))
        link_norms(links, layer, slot + 2, ("pre_ff_layernorm",))


FALCON_H1 = Family(
    name="falcon_h1",
    architecture="FalconH1ForCausalLM",
    write=_write_falcon_h1,
    read=_read_falcon_h1,
    link=_link_falcon_h1,
    ignored=r"(mup_vector|rotary_emb\.inv_freq)$",
)

FAMILIES = (FALCON_H1,)
