"""Token-mixing structures without tensors: codes, features, costs, equations. One row each."""

from itertools import product

from star.spec import ChannelMixing, LivSpec, Nonlinearity, Sparsity, TokenMixing
from star.structures.attention import AttentionRules, LatentAttentionRules, LinearAttentionRules
from star.structures.convolution import ConvolutionRules
from star.structures.memoryless import MemorylessRules, RoutedRules, RoutedSharedRules
from star.structures.recurrence import (
    DeltaRuleRules,
    GatedLinearRules,
    GatedRecurrenceRules,
    SelectiveScanRules,
    StateSpaceRules,
)
from star.structures.structure import StructureRules

ALL: tuple[StructureRules, ...] = (
    MemorylessRules(),
    RoutedRules(),
    RoutedSharedRules(),
    AttentionRules(),
    LatentAttentionRules(),
    LinearAttentionRules(),
    ConvolutionRules(),
    SelectiveScanRules(),
    StateSpaceRules(),
    GatedLinearRules(),
    DeltaRuleRules(),
    GatedRecurrenceRules(),
)

Codes = tuple[TokenMixing, Sparsity, Nonlinearity, ChannelMixing]

# What the four structure codes of an operator genome mean together; a combination that is not here means nothing.
MEANINGS: dict[Codes, StructureRules] = {
    (rules.token_mixing, sparsity, nonlinearity, rules.channel_mixing): rules
    for rules in ALL
    for sparsity, nonlinearity in product(rules.sparsities, rules.nonlinearities)
}


def rules_of(liv: LivSpec) -> StructureRules:
    """The structure of an operator."""
    return MEANINGS[liv.token_mixing, liv.sparsity, liv.nonlinearity, liv.channel_mixing]


__all__ = ["MEANINGS", "Codes", "StructureRules", "rules_of"]
