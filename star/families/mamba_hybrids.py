"""Families of Mamba or Mamba-2 and attention: Jamba, Nemotron-H."""

from collections.abc import Sequence
from typing import Any

from star.architecture.overrides import OperatorOverrides
from star.errors import UserError
from star.families.blueprint import Blueprint, Operator
from star.families.config import Config
from star.families.dense import plain_style
from star.families.experts import (
    experts,
    is_routed,
    link_experts,
    selection_bias,
    write_experts,
)
from star.families.family import Family, Traits
from star.families.links import Links
from star.families.parts import (
    FULL,
    SILU,
    attention,
    frame,
    gated_unit,
    link_attention,
    link_norms,
    link_unit,
    pairs,
    read_sizes,
    write_sizes,
)
from star.families.recurrent import (
    link_mamba_2_mixer,
    link_mamba_mixer,
    mamba,
    mamba_2,
    write_mamba_2_keys,
    write_mamba_keys,
)

LINEAR = "linear_attention"


# --- Jamba


JAMBA_KEYS = {
    "expand": "mamba_expand",
    "states": "mamba_d_state",
    "rank": "mamba_dt_rank",
    "taps": "mamba_d_conv",
    "kernel bias": "mamba_conv_bias",
    "bias": "mamba_proj_bias",
}
JAMBA_EXPERTS = "num_experts", "num_experts_per_tok", "intermediate_size"


def _read_jamba(config: Config) -> Blueprint:
    config = config.defaulting({"num_experts": 16, "num_experts_per_tok": 2})
    scan = mamba(config, JAMBA_KEYS, config.flag("mamba_proj_bias", False), inner_norm=True)
    mixers = [attention(config) if one else ("Mamba", scan) for one in periodic(config, "attn_layer", 8, 4)]
    routed = experts(config, *JAMBA_EXPERTS, scoring="softmax", normalised=False)
    has_experts = config.size("num_experts") > 1
    units = [routed if one and has_experts else gated_unit(config) for one in periodic(config, "expert_layer", 2, 1)]
    style: dict[str, Any] = plain_style(config) | {"positions": "none", "rope_theta": 10_000.0}
    return Blueprint(pairs(mixers, units), read_sizes(config, by_head=False, **style))


def periodic(config: Config, key: str, period: int, offset: int) -> list[bool]:
    """Return, for each layer, whether it is one of a kind that comes once in each period."""
    period, offset = config.size(f"{key}_period", period), config.size(f"{key}_offset", offset, least=0)
    if offset >= period:
        raise UserError(f"{key}_offset {offset} must be less than {key}_period {period}")
    return [i % period == offset for i in range(config.layers())]


def write_period(key: str, is_one: Sequence[bool]) -> dict[str, int]:
    """Return period and offset of the layers of a kind."""
    places = [i for i, one in enumerate(is_one) if one]
    first = places[0] if places else len(is_one)
    return {f"{key}_period": places[1] - first if len(places) > 1 else len(is_one) + 1, f"{key}_offset": first}


def _write_jamba(traits: Traits) -> dict[str, Any]:
    routed, dense = traits.first("routed"), traits.first("memoryless")
    found = write_sizes(traits, traits.first("attention"), dense or routed, by_head=False)
    found |= write_mamba_keys(traits, traits.first("selective scan"), JAMBA_KEYS)
    found |= write_period("attn_layer", [one["operator"] == "attention" for one in traits.slots[::2]])
    found |= write_period("expert_layer", [one["operator"] == "routed" for one in traits.slots[1::2]])
    found |= {key: value for key, value in write_experts(routed, *JAMBA_EXPERTS).items() if key not in found}
    return found | {"hidden_act": "silu", "rms_norm_eps": traits.style.norm_eps, "use_mamba_kernels": False}


def _link_jamba(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links, norm="model.final_layernorm")
    for i in range(len(blueprint.operators) // 2):
        layer, mixer, unit = f"model.layers.{i}", 2 * i, 2 * i + 1
        if blueprint.operators[mixer][0] == "Mamba":
            link_mamba_mixer(links, f"{layer}.mamba", mixer)
        else:
            link_attention(links, f"{layer}.self_attn", mixer)
        if is_routed(blueprint.operators[unit]):
            link_experts(links, f"{layer}.feed_forward", unit, router="router")
            links.zero(selection_bias(unit))
        else:
            link_unit(links, f"{layer}.feed_forward", unit)
        link_norms(links, layer, mixer, ("input_layernorm", "pre_ff_layernorm"))


JAMBA = Family(name="jamba", architecture="JambaForCausalLM", write=_write_jamba, read=_read_jamba, link=_link_jamba)


# --- Nemotron-H: one operator a layer


NEMOTRON_KEYS = {
    "heads": "mamba_num_heads",
    "head_dim": "mamba_head_dim",
    "states": "ssm_state_size",
    "groups": "n_groups",
    "taps": "conv_kernel",
    "kernel bias": "use_conv_bias",
}
LETTERS = {"M": LINEAR, "*": FULL, "-": "mlp"}
LEAST_STEP = 1e-30  # steps are bounded from below there; no step is so small


def nemotron_kinds(config: Config) -> list[str]:
    """Return the kind of every layer, from the list or from the older text of one letter a layer."""
    kinds = config.given("layers_block_type") or config.given("layer_types")
    if kinds is None and (letters := config.given("hybrid_override_pattern")) is not None:
        if not isinstance(letters, str) or not set(letters) <= set(LETTERS):
            raise UserError(f"hybrid_override_pattern must hold only {', '.join(LETTERS)}, not {letters!r:.40}")
        kinds = [LETTERS[one] for one in letters]
    if not isinstance(kinds, list) or not kinds:
        raise UserError(f"layers_block_type must be a list of words, one for each layer, not {kinds!r:.40}")
    Config({"layers": len(kinds)}).layers("layers")
    return Config({"layers_block_type": kinds}).words("layers_block_type", (LINEAR, FULL, "mlp"), len(kinds))


def _read_nemotron_h(config: Config) -> Blueprint:
    config.fixed(
        mlp_hidden_act="relu2", attention_bias=False, mlp_bias=False, sliding_window=None, mamba_hidden_act=SILU
    )
    config.fixed(tie_word_embeddings=False)  # its class ties nothing
    kinds = nemotron_kinds(config)
    groups = config.size("n_groups", 8)
    config = config.defaulting({"n_groups": groups})
    operators: dict[str, Operator] = {}
    for kind in kinds:  # only of those that are there, because a configuration may leave out the sizes of others
        if kind == LINEAR:
            space = mamba_2(config, NEMOTRON_KEYS, config.flag("use_bias", False), norm_groups=groups)
            operators[kind] = "Mamba-2", space
        elif kind == FULL:
            operators[kind] = attention(config)
        else:
            operators[kind] = "ReLU2", OperatorOverrides(d_ff=config.size("intermediate_size"))
    style: dict[str, Any] = {
        "norm_eps": config.number("layer_norm_epsilon", 1e-5),
        "positions": "none",
        "tied": False,
    }
    return Blueprint(tuple(operators[kind] for kind in kinds), read_sizes(config, **style))


def _write_nemotron_h(traits: Traits) -> dict[str, Any]:
    found = write_sizes(traits, traits.first("attention"), traits.first("memoryless"))
    space = traits.first("state space")
    words = {"state space": LINEAR, "attention": FULL}
    del found["num_hidden_layers"]  # follows from the list
    found |= write_mamba_2_keys(space, NEMOTRON_KEYS)
    return found | {
        "layers_block_type": [words.get(one["operator"], "mlp") for one in traits.slots],
        "layer_norm_epsilon": traits.style.norm_eps,
        "tie_word_embeddings": False,
        "use_bias": space.get("out_bias", False),
        "mlp_hidden_act": "relu2",
        "time_step_min": LEAST_STEP,
    }


def _link_nemotron_h(links: Links, blueprint: Blueprint, config: Config) -> None:
    frame(links, "backbone.embeddings", "backbone.norm_f")
    for i, (name, _) in enumerate(blueprint.operators):
        place = f"backbone.layers.{i}.mixer"
        if name == "Mamba-2":
            link_mamba_2_mixer(links, place, i)
        elif name == "ReLU2":
            link_unit(links, place, i, ("up_proj", "down_proj"))
        else:
            link_attention(links, place, i)
        link_norms(links, f"backbone.layers.{i}", i, ("norm",))


NEMOTRON_H = Family(
    name="nemotron_h",
    architecture="NemotronHForCausalLM",
    write=_write_nemotron_h,
    read=_read_nemotron_h,
    link=_link_nemotron_h,
    renames=((r"^model\.", "backbone."),),
)

FAMILIES = (JAMBA, NEMOTRON_H)
