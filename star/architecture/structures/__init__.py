"""Token-mixing structures without tensors: codes, meanings, features, costs, equations. One class each."""

from dataclasses import replace
from itertools import product

from star.architecture.codes import ChannelMixing, Nonlinearity, Sparsity, TokenMixing
from star.architecture.spec import BackboneConfig, Dimensions, LivSpec, ModelSpec, OperatorOverrides, Slot
from star.architecture.structures import attention, convolution, memoryless, recurrence
from star.architecture.structures.feature import feature_equation, feature_width
from star.architecture.structures.memoryless import CLIPPING
from star.architecture.structures.structure import StructureRules, check_features, check_known
from star.errors import UserError

ALL: tuple[StructureRules, ...] = (
    *memoryless.STRUCTURES,
    *attention.STRUCTURES,
    *convolution.STRUCTURES,
    *recurrence.STRUCTURES,
)

Codes = tuple[TokenMixing, Sparsity, Nonlinearity, ChannelMixing]

# Structure codes of an operator genome -> their structure; no other combination is valid.
MEANINGS: dict[Codes, StructureRules] = {
    (rules.token_mixing, sparsity, nonlinearity, rules.channel_mixing): rules
    for rules in ALL
    for sparsity, nonlinearity in product(rules.sparsities, rules.nonlinearities)
}

# Token mixing -> one of the structures that have it; all of these share its meaning and its hue.
FAMILIES: dict[TokenMixing, StructureRules] = {
    rules.token_mixing: rules for rules in sorted(ALL, key=lambda rules: rules.token_mixing)
}


def rules_of(liv: LivSpec) -> StructureRules:
    """Return the structure of an operator."""
    return MEANINGS[liv.token_mixing, liv.sparsity, liv.nonlinearity, liv.channel_mixing]


def operator_equation(liv: LivSpec) -> str:
    """Return the output y of token i, before the map W back to the residual stream. Two blanks separate equations."""
    text = rules_of(liv).equation(liv)
    return f"y = a(x) - b(x), two copies with weights of their own,  each {text}" if liv.differential else text


def feature_equations(liv: LivSpec) -> dict[str, str]:
    """Return, for each role, how the feature is made from the operator's input x, and its width."""
    return {
        group.role: ", ".join(filter(None, (feature_equation(group), feature_width(group)))) for group in liv.groups
    }


def check_overrides(liv: LivSpec, overrides: OperatorOverrides) -> None:
    """Raise UserError if overrides set a field that the operator does not support."""
    rules = rules_of(liv)
    check_known(rules, liv.name, overrides)
    check_features(rules, liv, overrides)
    if overrides.gate and liv.token_mixing is TokenMixing.DIAGONAL and not liv.has("V"):
        raise UserError(f"gate cannot be true for {liv.name}, which has no feature V")
    if liv.nonlinearity is not Nonlinearity.CLIPPED_SWISH:
        for name in CLIPPING:
            if getattr(overrides, name) != getattr(OperatorOverrides(), name):
                raise UserError(f"{name} means nothing to {liv.name}, whose nonlinearity is no clipped swish")
    if overrides.window and liv.sparsity is not Sparsity.BANDED:
        raise UserError(f"window means nothing to {liv.name}, which looks at all of the context")
    if overrides.positions == "learned":
        raise UserError(f"positions of {liv.name} cannot be learned: the model has one table of them, said in [style]")


def check_size(liv: LivSpec, dims: Dimensions) -> None:
    """Raise UserError if an operator cannot be built at a scale."""
    fitted = fit(liv, dims)
    rules_of(fitted).check_fits(fitted, dims.of(fitted))


def fit(liv: LivSpec, dims: Dimensions) -> LivSpec:
    """Return an operator as a scale builds it: with the overrides that `dims.operators` has for it, if any.

    Raise UserError if the sizes do not fit together.
    """
    overrides = next((overrides for name, overrides in dims.operators if name == liv.name), None)
    if overrides is None and not dims.heads and dims.style.positions == BackboneConfig().positions:
        return liv
    overrides, rules = overrides or liv.overrides, rules_of(liv)
    if overrides.norm_place and dims.style.shared_norm:
        raise UserError(f"{liv.name}: norm_place of a class goes with norms of its own, but shared_norm is true")
    if "positions" in rules.supported and not overrides.positions:
        overrides = replace(overrides, positions=dims.style.positions)
    varied = replace(liv, overrides=overrides)
    try:
        groups = rules.apply_overrides(varied, dims.of(varied))
    except UserError as error:
        text = str(error)
        raise UserError(text if text.startswith(liv.name) else f"{liv.name}: {text}") from error
    return replace(varied, groups=groups)


def specify(slots: tuple[Slot, ...], dims: Dimensions) -> ModelSpec:
    """Return the model of decoded slots at a scale, with every operator as the scale builds it."""
    fitted: dict[LivSpec, LivSpec] = {}
    found = []
    for slot in slots:
        liv = fitted.setdefault(slot.liv, fit(slot.liv, dims))
        kept = [g for g, group in enumerate(slot.liv.groups) if liv.has(group.role)]
        weights, features = (tuple(one[g] for g in kept) for one in (slot.weights_from, slot.features_from))
        found.append(Slot(slot.class_id, liv, weights, features))
    return ModelSpec(tuple(found), replace(dims, operators=()))
