"""Names of features and sizes in exported files."""

import ast
from typing import Any

from star.architecture.codes import FeatureTokenMixing, Nonlinearity, Structure
from star.architecture.spec import Dimensions, FeatureGroup, LivSpec

# Constants of the exported file, and the field of Dimensions that each is.
SIZES = {"WIDTH": "d_model", "HEAD_DIM": "head_dim", "VOCABULARY": "vocab_size", "CONTEXT": "seq_len"}

_ATTENTION = {"C": "query", "B": "key", "V": "value", "Z": "gate"}
_RECURRENCE = {"C": "readout", "B": "write", "V": "value", "A": "decay", "Z": "gate"}
_UNIT = {"C": "gate", "V": "value", "R": "router", "S": "shared_gate_map", "U": "shared_value"}
OTHER_ROLES = _ATTENTION | {"A": "decay", "W": "strength", "K": "kernel"}  # of a structure without names of its own
ROLES = {  # structure -> role -> the name of the feature
    Structure.ATTENTION: _ATTENTION,
    Structure.LATENT_ATTENTION: {"C": "query", "B": "rotary_key", "V": "latent"},
    Structure.LINEAR_ATTENTION: _ATTENTION,
    Structure.GATED_LINEAR: _ATTENTION | {"A": "decay"},
    Structure.DELTA_RULE: _ATTENTION | {"A": "decay", "W": "strength"},
    Structure.SELECTIVE_SCAN: _RECURRENCE | {"A": "step"},
    Structure.STATE_SPACE: _RECURRENCE | {"A": "step"},
    Structure.CONVOLUTION: {"C": "gate", "B": "input_gate", "V": "value", "K": "kernel"},
    Structure.MEMORYLESS: _UNIT,
    Structure.ROUTED: _UNIT,
}
_UNITS = {
    Nonlinearity.NONE: "Bilinear",
    Nonlinearity.RELU: "ReGLU",
    Nonlinearity.SWISH: "SwiGLU",
    Nonlinearity.GELU: "GEGLU",
    Nonlinearity.GATED_SQUARED_RELU: "SquaredReGLU",
    Nonlinearity.XIELU: "XieluUnit",
    Nonlinearity.CLIPPED_SWISH: "ClippedSwiGLU",
}
_CLASSES = {
    Structure.ATTENTION: "Attention",
    Structure.LATENT_ATTENTION: "LatentAttention",
    Structure.LINEAR_ATTENTION: "LinearAttention",
    Structure.GATED_LINEAR: "GatedLinearAttention",
    Structure.DELTA_RULE: "DeltaRule",
    Structure.SELECTIVE_SCAN: "Recurrence",
    Structure.STATE_SPACE: "StateSpace",
    Structure.ROUTED: "Experts",
}


def roles_of(liv: LivSpec) -> dict[str, str]:
    """Return the names of the features of an operator."""
    return ROLES.get(liv.structure, OTHER_ROLES)


def class_name(liv: LivSpec) -> str:
    """Return the name of the class of an operator."""
    if liv.structure is Structure.MEMORYLESS:
        return _UNITS.get(liv.nonlinearity, "Unit") if liv.has("V") else "Perceptron"
    if liv.structure is Structure.CONVOLUTION:
        is_short = liv.group("K").token_mixing is FeatureTokenMixing.TOEPLITZ
        return "GatedConvolution" if is_short else "LongConvolution"
    return _CLASSES.get(liv.structure) or liv.structure.value.title().replace(" ", "")


def width_symbols(liv: LivSpec, group: FeatureGroup, dims: Dimensions, value: int) -> tuple[tuple[str, int], ...]:
    """Return the factors of the width of a feature, each a name and its value; the name may be a constant's."""
    heads = ("heads", dims.num_heads)
    if liv.structure in (Structure.ATTENTION, Structure.LINEAR_ATTENTION):
        if group.role == "C" and value == dims.num_heads * dims.head_dim:
            return heads, ("head_dim", dims.head_dim)
        if group.role == "B" and value % dims.head_dim == 0:
            return ("kv_heads", value // dims.head_dim), ("head_dim", dims.head_dim)
        if group.role == "V":
            kv_heads = liv.group("B").width(dims) // dims.head_dim
            if value == kv_heads * dims.head_dim:
                return ("kv_heads", kv_heads), ("head_dim", dims.head_dim)
    if liv.structure in (Structure.MEMORYLESS, Structure.ROUTED) and group.role in "CV":
        return (("width", value),)
    if value == dims.d_model:
        return (("d_model", value),)
    if liv.structure in (Structure.SELECTIVE_SCAN, Structure.STATE_SPACE) and group.role in "CB":
        return (("states", value),)
    if liv.structure is Structure.STATE_SPACE and group.role == "A":
        return (("heads", value),)
    if group.role != "V" and value == liv.group("V").width(dims) if liv.has("V") else False:
        group = liv.group("V")
        return (("channels", value),)
    return (("channels" if group.role == "V" else f"{roles_of(liv)[group.role]}_width", value),)


def product(factors: list[ast.expr]) -> ast.expr:
    """Return the product of expressions."""
    found = factors[0]
    for factor in factors[1:]:
        found = ast.BinOp(found, ast.Mult(), factor)
    return found


# Functions of the architecture whose results have names of their own.
NAMED_CALLS: dict[str, str] = {
    "value_head_dim": "value_head_dim",
    "gate_width": "gate_width",
    "rope_head_dim": "rope_head_dim",
    "rotated_channels": "rotated",
    "map_rank": "rank",
    "norm_width": "norm_width",
}
NAMED_FIELDS: dict[type, dict[str, str]] = {
    Dimensions: {"d_model": "WIDTH", "vocab_size": "VOCABULARY", "seq_len": "CONTEXT", "head_dim": "head_dim"}
    | {"num_heads": "heads", "band": "window"},
    FeatureGroup: {"num_taps": "taps"},
}


def field_name(owner: Any, name: str) -> str:
    """Return the name of a size that is an attribute of a record; empty if it has none."""
    if isinstance(owner, FeatureGroup):
        if name == "expansion" and owner.role == "K":
            return "taps"
        if name == "expansion" and owner.role == "R":
            return "experts"
        if name == "repeat" and owner.role == "R":
            return "chosen"
    return NAMED_FIELDS.get(type(owner), {}).get(name, "")
