"""What a model computes, as plain facts: equal for two specs exactly if the same weights give the same function.

Genes and overrides can describe one operator in several ways: four query heads with two heads of keys are SA-4, or
SA-3 with num_kv_heads 2. Facts tell them alike. What only decides a price or a cache is left out.
"""

import math
from dataclasses import fields
from typing import Any

from star.architecture.codes import ChannelMixing, FeatureChannelMixing, Nonlinearity, Sparsity, Structure
from star.architecture.overrides import OperatorOverrides
from star.architecture.spec import Dimensions, FeatureGroup, LivSpec, ModelSpec
from star.architecture.structures.attention import (
    gate_width,
    is_late,
    positions_of,
    rope_head_dim,
    rotated_channels,
    value_head_dim,
)
from star.architecture.structures.feature import map_rank, norm_width
from star.architecture.structures.memoryless import scoring_of

Facts = dict[str, Any]

OTHER_OPERATOR = "it is "  # begins the text of what keeps an operator of another structure out
TOLERANCE = 1e-6  # relative: files hold such numbers with six digits or more
SCORED = (Structure.ATTENTION, Structure.LATENT_ATTENTION)
UNITS = (Structure.MEMORYLESS, Structure.ROUTED)
BY_HEAD = (*SCORED, Structure.LINEAR_ATTENTION, Structure.GATED_LINEAR, Structure.DELTA_RULE)
NORMED = (FeatureChannelMixing.NORMALISED, FeatureChannelMixing.COMPRESSED)
ACTIVATIONS = {
    Nonlinearity.NONE: "none",
    Nonlinearity.SOFTMAX: "softmax",
    Nonlinearity.RELU: "relu",
    Nonlinearity.SWISH: "swish",
    Nonlinearity.GELU: "gelu",
    Nonlinearity.SQUARED_RELU: "relu^2",
    Nonlinearity.GATED_SQUARED_RELU: "relu^2",
    Nonlinearity.XIELU: "xielu",
    Nonlinearity.CLIPPED_SWISH: "clipped swish",
}
# Fields of OperatorOverrides that the fitted features show, those that facts of their own show, and those that change
# a cache or a count alone. A test compares them with all that there are.
SHOWN_BY_FEATURES = {
    *("num_kv_heads", "d_ff", "d_shared", "d_inner", "d_state", "rank", "latent_dim", "taps", "num_experts"),
    *("experts_per_token", "bias", "kernel_bias", "gate_dim", "qk_norm", "inner_norm", "chained", "num_key_heads"),
}
SHOWN_BY_FACTS = {
    *("num_heads", "head_dim", "value_head_dim", "rope_head_dim", "window", "num_groups", "norm_place", "out_bias"),
    *("gate", "qk_norm_gain", "qk_norm_place", "out_norm", "norm_groups", "positions", "rotary", "rope_theta"),
    *("score_scale", "score_cap", "sinks", "scoring", "routed_scale", "normalised", "shared_gate", "clip_limit"),
    *("swish_slope", "value_shift"),
}
WITHOUT_EFFECT = {"kept_taps", "selection_bias"}
assert {field.name for field in fields(OperatorOverrides)} == SHOWN_BY_FEATURES | SHOWN_BY_FACTS | WITHOUT_EFFECT


def model_facts(spec: ModelSpec) -> Facts:
    """Return the facts of the model around its slots."""
    dims, style = spec.dims, spec.dims.style
    return {
        "slots": len(spec.slots),
        "d_model": dims.d_model,
        "vocabulary": dims.vocab_size,
        "norm": style.norm,
        "norm_gain": style.norm_gain,
        "norm_bias": style.norm_bias,
        "norm_eps": style.norm_eps,
        "shift": style.shift,
        "learned positions": dims.seq_len if style.positions == "learned" else 0,
        "tied": style.tied,
        "head_bias": style.head_bias,
        "embedding_norm": style.embedding_norm,
        "final_norm": style.final_norm,
        "embedding_scale": style.embedding_scale,
        "residual_scale": style.residual_scale,
        "logit_scale": style.logit_scale,
        "logit_cap": style.logit_cap,
    }


def slot_facts(spec: ModelSpec) -> list[Facts]:
    """Return the facts of every slot."""
    style = spec.dims.style
    rounds = style.rounds(len(spec.slots))
    found = []
    for i, slot in enumerate(spec.slots):
        others = {source for source in (*slot.weights_from, *slot.features_from) if source != i}
        facts = operator_facts(slot.liv, spec.dims) | {
            "norm_place": slot.liv.norm_place(style),
            "reads the input of slot": rounds[i] + 1,
            "norm of its own": not style.shared_norm or rounds[i] == i,
            "shares with slot": min(others) + 1 if others else 0,
        }
        found.append(facts)
    return found


def operator_facts(liv: LivSpec, dims: Dimensions) -> Facts:
    """Return the facts of one operator that is fitted to `dims`."""
    dims, overrides = dims.of(liv), liv.overrides
    facts: Facts = {
        "operator": str(liv.structure),
        "differential": liv.differential,
        "activation": ACTIVATIONS[liv.nonlinearity],
        "window": dims.band if liv.sparsity is Sparsity.BANDED else 0,
        "out_bias": overrides.out_bias,
    }
    for group in liv.groups:
        facts |= {f"{name} of {group.role}": value for name, value in _group_facts(group, liv, dims).items()}
    if any(group.channel_mixing is FeatureChannelMixing.GROUPED for group in liv.groups):
        facts["heads"] = dims.num_heads
    if liv.structure in BY_HEAD:
        facts |= {"heads": dims.num_heads, "head_dim": dims.head_dim, "value_head_dim": value_head_dim(liv, dims)}
    if liv.structure in SCORED:
        facts |= _attention_facts(liv, dims)
    if liv.structure in UNITS:
        facts |= _unit_facts(liv)
    if liv.structure is Structure.STATE_SPACE:
        has_norm = liv.has("Z") and overrides.out_norm is not False
        facts |= {"num_groups": overrides.num_groups or 1, "out_norm": has_norm}
        facts["norm_groups"] = (overrides.norm_groups or 1) if has_norm else 0
    return facts


def _group_facts(group: FeatureGroup, liv: LivSpec, dims: Dimensions) -> Facts:
    if group.role == "R":
        return {"experts": group.expansion, "chosen experts": group.repeat, "bias": group.bias}
    kind = group.channel_mixing
    facts: Facts = {"width": group.width(dims), "map": "dense" if kind in NORMED else kind.name.lower()}
    facts["kernel"] = _kernel_text(group)
    facts |= {"bias": group.bias, "source": group.source or "the input", "norm width": norm_width(group, dims)}
    if group.kernel_bias:
        facts["kernel bias"] = True
    if kind is FeatureChannelMixing.LATENT:
        facts |= {"rank": map_rank(group, dims), "inner norm": group.inner_norm}
    if norm_width(group, dims):
        is_late_norm = liv.structure is Structure.ATTENTION and is_late(liv.overrides)
        facts["norm gain"] = liv.overrides.qk_norm_gain if is_late_norm else group.gain
        if facts["norm gain"]:  # without one a norm and a rotation can change places
            facts["norm place"] = "after rotation" if is_late_norm else "before rotation"
    return facts


def _kernel_text(group: FeatureGroup) -> str:
    taps = group.expansion if group.channel_mixing is FeatureChannelMixing.DIAGONAL else group.num_taps
    return f"{group.token_mixing.name.lower().replace('_', ' ')}, {taps} taps" if taps else "none"


def _attention_facts(liv: LivSpec, dims: Dimensions) -> Facts:
    overrides, is_latent = liv.overrides, liv.channel_mixing is ChannelMixing.LATENT
    turned = rope_head_dim(liv, dims) if is_latent else dims.head_dim
    total = turned + dims.head_dim if is_latent else dims.head_dim
    positions = positions_of(liv, dims)
    rotated = rotated_channels(overrides, dims, turned) if positions == "rotary" else 0
    if positions == "rotary" and not rotated or positions == "learned":  # the latter are told in the facts of the model
        positions = "none"
    facts: Facts = {"positions": positions, "rotated channels": rotated, "rotated part": turned}
    if positions in ("rotary", "relative"):
        facts["rope_theta"] = float(overrides.rope_theta or dims.style.rope_theta)
    facts |= {
        "score_scale": overrides.score_scale or 1 / math.sqrt(total),
        "score_cap": overrides.score_cap,
        "sinks": overrides.sinks,
        "gate": gate_width(liv, dims),
        "out_norm": bool(overrides.out_norm),
    }
    return facts


def _unit_facts(liv: LivSpec) -> Facts:
    overrides = liv.overrides
    facts: Facts = {"out_norm": bool(overrides.out_norm)}
    if liv.nonlinearity is Nonlinearity.CLIPPED_SWISH:
        facts |= {name: getattr(overrides, name) for name in ("clip_limit", "swish_slope", "value_shift")}
    if liv.structure is Structure.ROUTED or liv.has("R"):
        scoring, is_normalised = scoring_of(liv)
        facts |= {"scoring": scoring, "normalised": is_normalised, "routed_scale": overrides.routed_scale}
        facts["shared_gate"] = overrides.shared_gate
    return facts


def differing(ours: Facts, theirs: Facts) -> list[str]:
    """Return the facts in which two models or two slots differ, each as "NAME is A, not B"."""
    if ours.get("operator") != theirs.get("operator"):
        return [f"{OTHER_OPERATOR}{ours['operator']}, not {theirs['operator']}"]
    names = [*ours, *(name for name in theirs if name not in ours)]
    pairs = [(name, ours.get(name, "none"), theirs.get(name, "none")) for name in names]
    return [f"{name} is {_shown(a)}, not {_shown(b)}" for name, a, b in pairs if not _equal(a, b)]


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=TOLERANCE)
    return a == b


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
