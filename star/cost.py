"""What an architecture costs, from its slots alone: parameters and cache bytes in plain integer arithmetic.

No module is built. Parameters equal the built model's; cache bytes are what must stay in memory between two
decoded tokens at batch 1, one shared feature counted once. Closed forms, with d = d_model, T = context:

    dense feature of width w      d w              latent feature (rank r = ceil(d/16))   d r + r d
    short kernel on a feature     3 w              explicit kernel as a feature           3 d
    implicit kernel as a feature  (2 F + 1) E + E + E d + d, F frequencies, E hidden width
    attention cache               T w for each of B (key) and V (value) that the slot computes itself
    long convolution cache        T d, its gated input B V; short convolution: 3 d
    recurrence cache              d N state; every short kernel on a feature: 3 w more

Adding an operator means adding its row to `_structure_params` and `_state` here, next to its module.
"""

from functools import lru_cache
from typing import NamedTuple

from star.spec import (
    IMPLICIT_FREQUENCIES,
    IMPLICIT_HIDDEN,
    SHORT_TAPS,
    Dimensions,
    FeatureChannelMixing,
    FeatureGroup,
    FeatureTokenMixing,
    LivSpec,
    Slot,
    TokenMixing,
    check_fits,
)


class Cost(NamedTuple):
    """Totals of a model. `params` holds `embedding_params`; the tied head adds none."""

    params: int
    embedding_params: int
    cache_bytes: int
    cache_bytes_per_token: int


class LayerCost(NamedTuple):
    """One slot's own share of a Cost, and the earlier slots whose weights or features it uses."""

    slot: int
    name: str
    params: int
    cache_bytes: int
    shares_with: tuple[int, ...]


class _Row(NamedTuple):
    """One operator class at one scale: parameters and cache elements, feature group by feature group."""

    group_params: tuple[int, ...]
    own_params: int  # structure, output map and norm
    group_fixed: tuple[int, ...]  # cache elements whatever the context
    group_growing: tuple[int, ...]  # cache elements per token
    state_fixed: int
    state_growing: int
    state_groups: tuple[int, ...]  # the state is a function of these groups alone, so shared if they are


def group_params(group: FeatureGroup, dims: Dimensions) -> int:
    """Parameters that make one feature group."""
    d, width = dims.d_model, group.width(dims)
    if group.channel_mixing is FeatureChannelMixing.DIAGONAL:
        if group.token_mixing is FeatureTokenMixing.IMPLICIT_TOEPLITZ:
            inputs = 2 * IMPLICIT_FREQUENCIES + 1
            return inputs * IMPLICIT_HIDDEN + IMPLICIT_HIDDEN + IMPLICIT_HIDDEN * d + d
        return SHORT_TAPS * d
    latent = group.channel_mixing is FeatureChannelMixing.LATENT
    projection = (d + width) * dims.latent_rank if latent else d * width
    return projection + (SHORT_TAPS * width if group.token_mixing is FeatureTokenMixing.TOEPLITZ else 0)


def _structure_params(liv: LivSpec, dims: Dimensions) -> int:
    """Parameters of the structure itself and of the map back to the residual stream."""
    d = dims.d_model
    if liv.token_mixing is TokenMixing.SEMI_SEPARABLE:
        return d * liv.state_size + 2 * d + d * d  # decay rates; skip and step bias; output
    if liv.token_mixing is TokenMixing.DIAGONAL:
        return liv.groups[1].width(dims) * d
    return d * d


def _state(liv: LivSpec, dims: Dimensions) -> tuple[int, int, tuple[int, ...]]:
    """Cache elements of the structure: fixed, per token, and the groups that alone determine them."""
    d = dims.d_model
    if liv.token_mixing is TokenMixing.SEMI_SEPARABLE:
        return d * liv.state_size, 0, ()
    if liv.token_mixing is TokenMixing.TOEPLITZ:
        long = liv.groups[3].token_mixing is FeatureTokenMixing.IMPLICIT_TOEPLITZ
        return (0, d, (1, 2)) if long else (SHORT_TAPS * d, 0, (1, 2))
    return 0, 0, ()


def _row(liv: LivSpec, dims: Dimensions) -> _Row:
    check_fits(liv, dims)
    copies = 2 if liv.differential else 1
    attends = liv.token_mixing is TokenMixing.LOW_RANK
    short = [
        SHORT_TAPS * group.width(dims)
        if group.token_mixing is FeatureTokenMixing.TOEPLITZ
        and group.channel_mixing is not FeatureChannelMixing.DIAGONAL
        else 0
        for group in liv.groups
    ]
    growing = [group.width(dims) if attends and group.role in "BV" else 0 for group in liv.groups]
    state_fixed, state_growing, state_groups = _state(liv, dims)
    return _Row(
        group_params=tuple(copies * group_params(group, dims) for group in liv.groups),
        own_params=copies * _structure_params(liv, dims) + dims.d_model,
        group_fixed=tuple(copies * elements for elements in short),
        group_growing=tuple(copies * elements for elements in growing),
        state_fixed=copies * state_fixed,
        state_growing=copies * state_growing,
        state_groups=state_groups,
    )


class _Pricer:
    """Prices slots at one set of dimensions, remembering the row of each operator class it has met."""

    def __init__(self, dims: Dimensions) -> None:
        self.dims = dims
        self._rows: dict[int, tuple[LivSpec, _Row]] = {}  # by identity: hashing a LivSpec costs more than pricing it

    def row(self, liv: LivSpec) -> _Row:
        known = self._rows.get(id(liv))
        if known is None or known[0] is not liv:
            self._rows[id(liv)] = known = (liv, _row(liv, self.dims))
        return known[1]

    def layers(self, slots: tuple[Slot, ...]) -> list[tuple[int, int, int]]:
        """Parameters, fixed cache elements and cache elements per token of each slot."""
        result = []
        states: set[tuple[int, ...]] = set()
        for i, (_, liv, weights, features) in enumerate(slots):
            row = self.row(liv)
            params, fixed, growing = row.own_params, row.state_fixed, row.state_growing
            if row.state_groups:
                key = (id(liv), *[features[g] for g in row.state_groups])
                if key in states:
                    fixed = growing = 0
                states.add(key)
            for g, producer in enumerate(features):
                if producer == i:
                    fixed += row.group_fixed[g]
                    growing += row.group_growing[g]
                    if weights[g] == i:
                        params += row.group_params[g]
            result.append((params, fixed, growing))
        return result


@lru_cache(maxsize=64)
def _pricer(dims: Dimensions) -> _Pricer:
    return _Pricer(dims)


def price(slots: tuple[Slot, ...], dims: Dimensions, context: int | None = None, dtype_bytes: int = 2) -> Cost:
    """Total parameters and cache bytes of a model.

    Args:
        slots: a decoded genome.
        dims: the sizes to price at.
        context: tokens held in the cache; `dims.seq_len` if None.
        dtype_bytes: bytes of one cache element, 2 for bf16.

    Raises:
        UserError: an operator that cannot be built at `dims`.
    """
    params = fixed = growing = 0
    for layer in _pricer(dims).layers(slots):
        params += layer[0]
        fixed += layer[1]
        growing += layer[2]
    embedding = dims.vocab_size * dims.d_model
    tokens = dims.seq_len if context is None else context
    return Cost(
        params=params + embedding + dims.d_model,
        embedding_params=embedding,
        cache_bytes=(fixed + growing * tokens) * dtype_bytes,
        cache_bytes_per_token=growing * dtype_bytes,
    )


def itemise(
    slots: tuple[Slot, ...], dims: Dimensions, context: int | None = None, dtype_bytes: int = 2
) -> list[LayerCost]:
    """The same, slot by slot: arguments as for `price`. What no slot holds is embedding and final norm."""
    tokens = dims.seq_len if context is None else context
    layers = _pricer(dims).layers(slots)
    return [
        LayerCost(
            slot=i,
            name=slot.liv.name,
            params=params,
            cache_bytes=(fixed + growing * tokens) * dtype_bytes,
            shares_with=tuple(sorted({*slot.weights_from, *slot.features_from} - {i})),
        )
        for i, (slot, (params, fixed, growing)) in enumerate(zip(slots, layers, strict=True))
    ]
