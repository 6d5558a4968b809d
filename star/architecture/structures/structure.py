"""The base class of token-mixing structures, without tensors: the codes that name a structure, its features and the
values of their genes, its costs and its equation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import NamedTuple

from star.architecture.codes import (
    UNSEARCHED_FEATURES,
    ChannelMixing,
    FeatureChannelMixing,
    FeatureTokenMixing,
    Nonlinearity,
    Sparsity,
    Structure,
    TokenMixing,
)
from star.architecture.spec import Dimensions, FeatureGroup, LivSpec, OperatorOverrides
from star.architecture.structures.feature import feature_flops, feature_params
from star.errors import UserError, nearest

GENES = ("token mixing", "channel mixing", "expansion", "repeat")  # of a feature group, in their order


class CacheEntry(NamedTuple):
    """Elements that decoding keeps between two tokens: `fixed`, and `growing` for each token of the context, or of
    the window if `banded`. They follow from the features of `roles` alone, so slots that share all of these keep
    them once; with no roles they are the slot's own."""

    roles: str
    fixed: int = 0
    growing: int = 0
    banded: bool = False


class Tie(NamedTuple):
    """Genes, by their place in GENES, in which the feature group `role` takes the values of `leader`."""

    role: str
    leader: str
    genes: tuple[int, ...]


# Role of a feature group -> its name in the structures that have no other name for it.
ROLES = {
    "C": "what reads: query, gate",
    "B": "what is matched or written under: key, input gate",
    "V": "what is read: value",
    "A": "decay or step",
    "W": "how strongly the delta rule writes",
    "Z": "gate of the output",
    "K": "kernel of a convolution",
    "R": "router",
    "S": "C of the experts that serve every token",
    "U": "V of the experts that serve every token",
}
ATTENTION_ROLES = {"C": "query", "B": "key", "V": "value"}


@dataclass(frozen=True, slots=True)
class Choices:
    """The values that the four genes of one feature group may take in a structure."""

    role: str
    token_mixing: tuple[int, ...]
    channel_mixing: tuple[int, ...]
    expansion: tuple[int, ...] = (1,)
    repeat: tuple[int, ...] = (1,)

    def allowed(self) -> tuple[tuple[int, ...], ...]:
        """Return the values of each gene, in the order of GENES."""
        return self.token_mixing, self.channel_mixing, self.expansion, self.repeat

    def searched(self) -> tuple[tuple[int, ...], ...]:
        """Return the values of each gene that searches draw, in the order of GENES."""
        token_mixing = tuple(one for one in self.token_mixing if one not in UNSEARCHED_FEATURES)
        return token_mixing, self.channel_mixing, self.expansion, self.repeat


class StructureRules:
    """A structure: the codes that name it, and what follows from them. Stateless; one instance for each."""

    structure: Structure
    token_mixing: TokenMixing
    token_meaning: str  # of its token mixing, in words, as `star genes` says it
    hue: int  # of its token mixing in reports, in degrees: its classes are shades of it
    channel_mixing: ChannelMixing
    channel_meaning: str = ""  # of its channel mixing, if no other structure has that
    role_names: Mapping[str, str] = MappingProxyType({})  # role -> its name here, where ROLES has a more general one
    nonlinearities: tuple[Nonlinearity, ...] = (Nonlinearity.NONE,)
    sparsities: tuple[Sparsity, ...] = (Sparsity.NONE,)
    shareable: str = "BV"  # the roles that feature sharing can name: first, second
    ties: tuple[Tie, ...] = ()
    conditions: Mapping[str, str] = MappingProxyType({})  # role -> rule of `canonicalise` beyond ties
    deferred: str = ""  # roles whose features each slot computes anew, even where it shares them
    repeats_heads: bool = False  # a repeat counts query heads that one key/value head serves
    supported: tuple[str, ...] = ()  # fields of OperatorOverrides that it supports beyond COMMON
    chains: str = ""  # roles that a chained variant makes from V
    relative_time: float = 1.0  # of a training step to a memoryless unit's: docs/benchmarks.md, nano, 128 tokens
    kept_per_flop: float = 0.06  # elements that training keeps for each FLOP of mixing: a form in chunks
    passing_per_channel: float = 0.0  # elements that its backward pass takes meanwhile; twice what it keeps if 0

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        """Return the feature groups in their order, each with the values that its genes may take."""
        raise NotImplementedError

    def canonicalise(self, rows: dict[str, list[int]]) -> None:
        """Bring genes that depend on each other into agreement, in place. Each has an allowed value already."""
        for role, leader, genes in self.ties:
            if role in rows and leader in rows:
                for gene in genes:
                    rows[role][gene] = rows[leader][gene]

    def role_name(self, role: str) -> str:
        """Return the name of a feature group in this structure."""
        return self.role_names.get(role) or ROLES[role]

    def explain(self, role: str, wanted: int) -> str:
        """Return the end of a sentence that says why `canonicalise` sets a gene of that role to `wanted`."""
        if role in self.conditions:
            return f"must be {wanted}: {self.conditions[role]}"
        leader = next(tie.leader for tie in self.ties if tie.role == role)
        return f"must be {wanted}, as that of {leader}"

    def widths(self, liv: LivSpec, dims: Dimensions) -> dict[str, int]:
        """Return the channels of all feature groups but R, with overrides. Raise UserError if they do not fit."""
        raise NotImplementedError

    def dropped_roles(self, overrides: OperatorOverrides) -> str:
        """Return the roles that overrides remove."""
        return ""

    def apply_overrides(self, liv: LivSpec, dims: Dimensions) -> tuple[FeatureGroup, ...]:
        """Return the feature groups with `liv.overrides` applied, at the operator's own sizes. Raise UserError if they
        do not fit.
        """
        widths = self.widths(liv, dims)
        for role, width in widths.items():
            if width < 1:
                raise UserError(f"{liv.name}: {role} would have {width} channels")
        dropped_roles = self.dropped_roles(liv.overrides)
        groups = [
            self.override_group(liv.overrides, one, widths) for one in liv.groups if one.role not in dropped_roles
        ]
        for group in groups:
            if group.channel_mixing is FeatureChannelMixing.GROUPED:
                check_divides(liv.name, "num_heads", dims.num_heads, "d_model", group.fan_in or dims.d_model)
                check_divides(liv.name, "num_heads", dims.num_heads, f"the width of {group.role},", group.channels)
        return tuple(groups)

    def override_group(self, overrides: OperatorOverrides, group: FeatureGroup, widths: dict[str, int]) -> FeatureGroup:
        """Return one feature group with overrides applied."""
        group = replace(group, channels=widths.get(group.role, 0), bias=group.role in overrides.bias)
        if overrides.chained and group.role in self.chains:
            diagonal = FeatureTokenMixing.DIAGONAL
            group = replace(group, source="V", fan_in=widths["V"], token_mixing=diagonal, bias=False)
        if group.role == "K":
            return replace(group, expansion=overrides.taps or group.expansion)
        if group.num_taps:
            taps, kept = overrides.taps or group.num_taps, overrides.kept_taps
            group = replace(group, taps=taps, kept_taps=kept, kernel_bias=overrides.kernel_bias)
        if group.channel_mixing is FeatureChannelMixing.LATENT:
            group = replace(group, rank=overrides.rank, inner_norm=overrides.inner_norm)
        return group

    def out_params(self, liv: LivSpec, width: int, dims: Dimensions) -> int:
        """Return the parameters of the map of `width` channels back to the residual stream."""
        return width * dims.d_model + (dims.d_model if liv.overrides.out_bias else 0)

    def group_params(self, liv: LivSpec, group: FeatureGroup, dims: Dimensions) -> int:
        """Return the parameters of one of its feature groups."""
        return feature_params(group, dims)

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        """Return the parameters of the structure itself and of the map back to the residual stream."""
        raise NotImplementedError

    def inactive_group_params(self, liv: LivSpec, group: FeatureGroup, dims: Dimensions) -> int:
        """Return the parameters of a feature group that one token does not use."""
        return 0

    def inactive_params(self, liv: LivSpec, dims: Dimensions) -> int:
        """Return the parameters of the structure and its output map that one token does not use."""
        return 0

    def cache_spec(self, liv: LivSpec, dims: Dimensions) -> tuple[CacheEntry, ...]:
        """Return what decoding keeps between two tokens, without the short kernels of features."""
        return ()

    def group_flops(self, liv: LivSpec, group: FeatureGroup, dims: Dimensions, tokens: int) -> int:
        """Return the FLOPs of one of its feature groups for a sequence of `tokens`."""
        return feature_flops(group, dims, tokens)

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        """Return the FLOPs of the structure and its output map over a sequence of `tokens` from the first:
        multiplications and additions of matrix products, attention, scans, convolutions and routing. Activations,
        norms, gates and the computation of decays are not counted.
        """
        raise NotImplementedError

    def decode_flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        """Return the FLOPs of the structure and its output map for one more token after `tokens` that are kept."""
        return self.flops(liv, dims, tokens + 1) - self.flops(liv, dims, tokens)

    def equation(self, liv: LivSpec) -> str:
        """Return the output y of token i as text, from features named by their roles."""
        raise NotImplementedError

    def check_fits(self, liv: LivSpec, dims: Dimensions) -> None:
        """Raise UserError if an operator cannot be built at `dims`."""
        for group in liv.groups:
            if group.channels:  # set by `apply_overrides`, which checks them
                continue
            if group.role in "CBV" and group.repeat in (2, 4, 8) and self.repeats_heads:
                check_heads(liv.name, group, dims)
            elif group.repeat in (2, 4, 8, 16) and group.role != "R" and dims.d_model % group.repeat:
                raise UserError(
                    f"{liv.name}: the repeat of {group.role} is {group.repeat}, but must divide d_model {dims.d_model}"
                )


COMMON = ("norm_place", "bias", "out_bias", "taps", "kept_taps", "kernel_bias")  # every structure supports them


def check_known(rules: StructureRules, name: str, overrides: OperatorOverrides) -> None:
    """Raise UserError if overrides set a field that a structure does not support."""
    known = (*COMMON, *rules.supported)
    for field in fields(OperatorOverrides):
        if field.name not in known and getattr(overrides, field.name) != field.default:
            raise UserError(f"{field.name} means nothing to {name} ({rules.structure}){nearest(field.name, known)}")


def check_features(rules: StructureRules, liv: LivSpec, overrides: OperatorOverrides) -> None:
    """Raise UserError if overrides need a part that features lack: a bias without a map, taps without a kernel."""
    check_bias(rules, liv, overrides)
    kernels = {group.role: overrides.taps or kernel_taps(group) for group in liv.groups if group.num_taps}
    if (overrides.taps or overrides.kept_taps) and not kernels:
        raise UserError(f"taps and kept_taps mean nothing to {liv.name}, which has no short kernel")
    if overrides.kernel_bias and not {*kernels} - {"K"}:
        raise UserError(f"kernel_bias means nothing to {liv.name}, which has no short kernel on a feature")
    kept = overrides.kept_taps
    for taps in kernels.values():
        if kept and not taps - 1 <= kept <= taps:
            raise UserError(f"kept_taps is {kept}, but decoding keeps {taps - 1} or {taps} columns for {taps} taps")


def check_bias(rules: StructureRules, liv: LivSpec, overrides: OperatorOverrides) -> None:
    """Raise UserError if overrides give a bias to a role that has no map of the operator's input, or two to one."""
    lacking = rules.dropped_roles(overrides) + "K"
    mapped = [group.role for group in liv.groups if group.role not in lacking]
    for role in overrides.bias:
        if role not in mapped:
            raise UserError(f"bias names {role!r}, but the maps of {liv.name} are {', '.join(mapped)}")
        if overrides.chained and role in rules.chains:
            raise UserError(f"bias names {role!r}, which {liv.name} makes from V if chained, without a bias")
    if len(set(overrides.bias)) < len(overrides.bias):
        raise UserError(f"bias names a map of {liv.name} twice: {overrides.bias!r:.60}")


def kernel_taps(group: FeatureGroup) -> int:
    """Return the taps that the genes give the short kernel of a feature group."""
    return group.expansion if group.role == "K" else group.num_taps


def check_divides(name: str, part: str, of_part: int, whole: str, of_whole: int) -> None:
    """Raise UserError unless one size divides another."""
    if of_part < 1 or of_whole % of_part:
        raise UserError(f"{name}: {part} {of_part:,} does not divide {whole} {of_whole:,}")


def check_heads(name: str, group: FeatureGroup, dims: Dimensions) -> None:
    """Raise UserError unless the repeat of a group divides the number of heads."""
    if dims.num_heads % group.repeat:
        raise UserError(
            f"{name} repeats {group.role} over {group.repeat} query heads, which does not divide the "
            f"{dims.num_heads} heads of d_model {dims.d_model} with head_dim {dims.head_dim}"
        )
