"""What every token-mixing structure tells about itself without a tensor: which codes mean it, which features it needs
and what genes these may have, what it costs, and its equation."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from star.spec import (
    ChannelMixing,
    Dimensions,
    FeatureGroup,
    LivSpec,
    Nonlinearity,
    Sparsity,
    Structure,
    TokenMixing,
    UserError,
)
from star.structures.feature import feature_flops, feature_params

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


@dataclass(frozen=True, slots=True)
class Choices:
    """The values that the four genes of one feature group may take in a structure."""

    role: str
    token_mixing: tuple[int, ...]
    channel_mixing: tuple[int, ...]
    expansion: tuple[int, ...] = (1,)
    repeat: tuple[int, ...] = (1,)

    def allowed(self) -> tuple[tuple[int, ...], ...]:
        """The values of each gene, in the order of GENES."""
        return self.token_mixing, self.channel_mixing, self.expansion, self.repeat


class StructureRules:
    """A structure: the codes that mean it, and what follows from them. Stateless; one instance for each."""

    structure: Structure
    token_mixing: TokenMixing
    channel_mixing: ChannelMixing
    nonlinearities: tuple[Nonlinearity, ...] = (Nonlinearity.NONE,)
    sparsities: tuple[Sparsity, ...] = (Sparsity.NONE,)
    shareable: str = "BV"  # the roles that feature sharing can name: first, second
    ties: tuple[Tie, ...] = ()
    conditions: Mapping[str, str] = MappingProxyType({})  # role -> what `settle` asks of its genes beyond ties
    deferred: str = ""  # roles whose features each slot computes anew, even where it shares them
    repeats_heads: bool = False  # a repeat counts query heads that one key/value head serves
    relative_time: float = 1.0  # of a training step to a memoryless unit's: docs/benchmarks.md, nano, 128 tokens

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        """The feature groups in their order, each with the values its genes may take."""
        raise NotImplementedError

    def settle(self, rows: dict[str, list[int]]) -> None:
        """Bring genes that depend on each other into agreement, in place. Each is allowed already."""
        for role, leader, genes in self.ties:
            if role in rows and leader in rows:
                for gene in genes:
                    rows[role][gene] = rows[leader][gene]

    def demand(self, role: str, wanted: int) -> str:
        """What a gene of that role that `settle` changes to `wanted` must be, as the end of a sentence."""
        if role in self.conditions:
            return f"must be {wanted}: {self.conditions[role]}"
        leader = next(tie.leader for tie in self.ties if tie.role == role)
        return f"must be {wanted}, as that of {leader}"

    def group_params(self, liv: LivSpec, group: FeatureGroup, dims: Dimensions) -> int:
        """Parameters that make one of its feature groups."""
        return feature_params(group, dims)

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        """Parameters of the structure itself and of the map back to the residual stream."""
        raise NotImplementedError

    def idle_group_params(self, liv: LivSpec, group: FeatureGroup, dims: Dimensions) -> int:
        """Of the parameters that make a feature group, those that one token does not go through."""
        return 0

    def idle_params(self, liv: LivSpec, dims: Dimensions) -> int:
        """Of the others, those that one token does not go through."""
        return 0

    def keeps(self, liv: LivSpec, dims: Dimensions) -> tuple[CacheEntry, ...]:
        """What the structure keeps between two tokens, short kernels of features apart."""
        return ()

    def group_flops(self, liv: LivSpec, group: FeatureGroup, dims: Dimensions, tokens: int) -> int:
        """FLOPs that make one of its feature groups for a sequence of `tokens`."""
        return feature_flops(group, dims, tokens)

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        """FLOPs of the structure and its output map over a sequence of `tokens` from the first: multiplications and
        additions of matrix products, attention, scans, convolutions and routing. Activations, norms, gates and the
        making of decays are not counted."""
        raise NotImplementedError

    def equation(self, liv: LivSpec) -> str:
        """The output y of token i as text, from features named by their roles."""
        raise NotImplementedError

    def check_fits(self, liv: LivSpec, dims: Dimensions) -> None:
        """Raise UserError if an operator cannot be built at `dims`."""
        for group in liv.groups:
            if group.role in "CBV" and group.repeat in (2, 4, 8) and self.repeats_heads:
                check_heads(liv.name, group, dims)
            elif group.repeat in (2, 4, 8, 16) and group.role != "R" and dims.d_model % group.repeat:
                raise UserError(
                    f"{liv.name}: the repeat of {group.role} is {group.repeat}, but must divide d_model {dims.d_model}"
                )


def check_heads(name: str, group: FeatureGroup, dims: Dimensions) -> None:
    """Raise UserError unless whole heads can serve repeatedly."""
    if dims.num_heads % group.repeat:
        raise UserError(
            f"{name} repeats {group.role} over {group.repeat} query heads, which does not divide the "
            f"{dims.num_heads} heads of d_model {dims.d_model} with head_dim {dims.head_dim}"
        )
