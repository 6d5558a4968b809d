"""Parts of configurations and of names that many families share: embedding and head, attention, gated units, norms."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from star.architecture.overrides import OperatorOverrides
from star.architecture.spec import BackboneConfig, Dimensions
from star.errors import UserError
from star.families.blueprint import Operator
from star.families.config import Config
from star.families.facts import Facts
from star.families.family import Traits
from star.families.links import KERNEL, Links, Step

FULL, SLIDING, NOPE = "full_attention", "sliding_attention", "without positions"
PLAIN_CLASSES = {FULL: "SA-1", SLIDING: "SWA"}  # as many heads of keys as of queries
CLASSES = {FULL: "SA-3", SLIDING: "SWA-GQA", NOPE: "SA-4"}
UNITS = {  # activation, as configurations call it -> the class of gated units; a second one, for layers built otherwise
    "silu": ("GMemless", "SwiGLU-1"),
    "gelu": ("GEGLU", "11152,1211,1211"),
    "relu": ("11132,1231,1231", "11132,1211,1211"),
    "relu2": ("11172,1231,1231", "11172,1211,1211"),
    "linear": ("11112,1231,1231", "11112,1211,1211"),
}
SPELLINGS = {"swish": "silu", **{word: word for word in UNITS}}
WORDS = {"swish": "silu", "gelu": "gelu", "relu": "relu", "relu^2": "relu2", "none": "linear"}
NORMS = ("input_layernorm", "post_attention_layernorm")
SILU = ("silu", "swish")
EQUAL_HEADS = {"num_key_value_heads": None}  # what the key is where it is left out, in some families
GATED = ("gate_proj", "up_proj", "down_proj")


# --- From a configuration


def read_sizes(config: Config, layers_of: str = "max_position_embeddings", by_head: bool = True, **style) -> Dimensions:
    """Return sizes and style; `by_head` says that the family lets a configuration name head_dim."""
    hidden, heads = config.size("hidden_size"), config.size("num_attention_heads")
    if by_head and config.given("head_dim") is not None:
        head_dim = config.size("head_dim")
    elif hidden % heads:
        raise UserError(f"num_attention_heads {heads:,} does not divide hidden_size {hidden:,}")
    else:
        head_dim = hidden // heads
    return Dimensions(
        d_model=hidden,
        head_dim=head_dim,
        vocab_size=config.size("vocab_size"),
        seq_len=config.size(layers_of),
        heads=heads,
        style=BackboneConfig(**style),
    )


def read_kv_heads(config: Config) -> int:
    """Return the number of heads of keys and values: as many as of queries if it is null. Left out it is a number that
    differs from family to family, which is refused.
    """
    if "num_key_value_heads" not in config.values:
        raise UserError("the key 'num_key_value_heads' is missing")
    return config.size("num_key_value_heads", config.size("num_attention_heads"))


def attention(config: Config, kind: str = FULL, window: int = 0, **more: Any) -> Operator:
    """Return attention over heads; `more` are overrides."""
    kv_heads, heads = read_kv_heads(config), config.size("num_attention_heads")
    if kind == NOPE:
        more["positions"] = "none"
    if kind == SLIDING:
        more["window"] = window
    if kind == FULL and more.get("qk_norm") == "head":
        del more["qk_norm"]
        return "QKNorm-GQA", OperatorOverrides(num_kv_heads=kv_heads, **more)
    if kv_heads == heads and kind in PLAIN_CLASSES:
        return PLAIN_CLASSES[kind], OperatorOverrides(**more)
    return CLASSES[kind], OperatorOverrides(num_kv_heads=kv_heads, **more)


def read_activation(config: Config, key: str = "hidden_act") -> str:
    """Return the activation of units."""
    return SPELLINGS[config.word(key, tuple(SPELLINGS), "silu" if key == "hidden_act" else None)]


def gated_unit(config: Config, key: str = "hidden_act", other: bool = False, **more: Any) -> Operator:
    """Return a gated unit; `other` asks for a second class of the same function."""
    name = UNITS[read_activation(config, key)][other]
    return name, OperatorOverrides(d_ff=config.size("intermediate_size"), **more)


def check_eps(eps: float, wanted: float, where: str) -> None:
    """Raise UserError unless the number under a root is that which a family has at one place whatever it says."""
    if not math.isclose(eps, wanted, rel_tol=1e-3):
        raise UserError(f"rms_norm_eps is {eps:g}, but must be {wanted:g}, which {where} have in any case")


def read_window(config: Config, key: str = "sliding_window") -> int:
    """Return the size of a window that layers have."""
    return config.size(key)


def pairs(mixers: list[Operator], units: list[Operator] | Operator) -> tuple[Operator, ...]:
    """Return the slots of layers of a mixer and a unit."""
    units = units if isinstance(units, list) else [units] * len(mixers)
    return tuple(one for pair in zip(mixers, units, strict=True) for one in pair)


# --- To a configuration


def write_sizes(traits: Traits, mixer: Facts, unit: Facts, by_head: bool = True) -> dict[str, Any]:
    """Return the keys of sizes that most configurations have."""
    dims = traits.dims
    heads, head_dim = mixer.get("heads", dims.num_heads), mixer.get("head_dim", dims.head_dim)
    found = {
        "vocab_size": dims.vocab_size,
        "hidden_size": dims.d_model,
        "intermediate_size": unit.get("width of C", 4 * dims.d_model),
        "num_hidden_layers": traits.layers(),
        "num_attention_heads": heads,
        "num_key_value_heads": max(1, mixer.get("width of B", heads * head_dim) // head_dim),
        "max_position_embeddings": dims.seq_len,
        "tie_word_embeddings": traits.style.tied,
    }
    return found | ({"head_dim": head_dim} if by_head else {})


def write_rope(traits: Traits, mixer: Facts, share: bool = False) -> dict[str, Any]:
    """Return the parameters of rotary positions; `share` says that a family may rotate a part of each head."""
    found: dict[str, Any] = {"rope_type": "default", "rope_theta": mixer.get("rope_theta", traits.style.rope_theta)}
    if share:
        found["partial_rotary_factor"] = mixer.get("rotated channels", 1) / mixer.get("rotated part", 1)
    return found


def write_activation(unit: Facts) -> str:
    """Return the word for the activation of a unit."""
    return WORDS.get(unit.get("activation", ""), "silu")


def has_bias(facts: Facts, roles: str) -> bool:
    """Return whether the maps of features of these roles have biases."""
    return any(facts.get(f"bias of {role}", False) for role in roles)


# --- Names of weights


def frame(
    links: Links,
    embedding: str = "model.embed_tokens",
    norm: str = "model.norm",
    head: str = "lm_head",
    steps: tuple[Step, ...] = (),
) -> None:
    """Link what is outside of the slots; a head that is the embedding is in no file."""
    links.module(embedding, "embedding")
    links.module(norm, "final_norm", steps=steps)
    links.module(head, "head")


def feature(slot: int, role: str) -> str:
    """Return the name of the map of a feature."""
    return f"layers.{slot}.featurizer.{role}.channels"


def link_attention(
    links: Links, prefix: str, slot: int, out: str = "o_proj", rows: Mapping[str, np.ndarray] | None = None
) -> None:
    """Link attention whose maps are modules of their own; `rows` are orders of rows by role."""
    for role, name in zip("CBV", ("q_proj", "k_proj", "v_proj"), strict=True):
        links.module(f"{prefix}.{name}", feature(slot, role), rows=(rows or {}).get(role))
    links.module(f"{prefix}.{out}", f"layers.{slot}.out")


def link_qk_norms(
    links: Links, prefix: str, slot: int, names: tuple[str, str] = ("q_norm", "k_norm"), steps: tuple[Step, ...] = ()
) -> None:
    """Link the norms of queries and keys."""
    for role, name in zip("CB", names, strict=True):
        links.module(f"{prefix}.{name}", f"layers.{slot}.featurizer.{role}.norm", steps=steps)


def link_unit(links: Links, prefix: str, slot: int, names: tuple[str, ...] = GATED) -> None:
    """Link a unit with a gate, or without one if there are two names."""
    roles = "CV" if len(names) == 3 else "C"
    ours = [*(feature(slot, role) for role in roles), f"layers.{slot}.out"]
    links.modules(f"{prefix}.", dict(zip(names, ours, strict=True)))


def link_norms(
    links: Links, layer: str, slot: int, names: tuple[str, ...] = NORMS, steps: tuple[Step, ...] = (), ours="norms"
) -> None:
    """Link the norms of the slots of a layer, from `slot` on."""
    links.modules(f"{layer}.", {name: f"{ours}.{slot + i}" for i, name in enumerate(names)}, steps=steps)


def taps_of(facts: Facts, role: str = "V") -> int:
    """Return the taps of the short kernel of a feature, 4 without one."""
    words = str(facts.get(f"kernel of {role}", "")).split(", ")
    return int(words[1].split()[0]) if len(words) == 2 else 4


def kernels(links: Links, theirs: str, slot: int, roles: str) -> None:
    """Link the short kernels of features as one convolution, and their biases if they have any."""
    made = [f"layers.{slot}.featurizer.{role}" for role in roles]
    links.add(f"{theirs}.weight", *(f"{one}.kernel" for one in made), axis=1, steps=KERNEL)
    if f"{made[0]}.kernel_bias" in links.own:
        links.add(f"{theirs}.bias", *(f"{one}.kernel_bias" for one in made))


def rates(links: Links, prefix: str, slot: int, skip: bool = True) -> None:
    """Link rates of decay, and skips."""
    links.add(f"{prefix}.A_log", f"layers.{slot}.mixer.log_rate")
    if skip:
        links.add(f"{prefix}.D", f"layers.{slot}.mixer.skip")
