"""What an architecture costs, from its slots alone: parameters, cache bytes and FLOPs in plain integer arithmetic.

No module is built. Parameters equal the built model's; cache bytes are those of the tensors that decoding keeps at
batch 1, what slots share counted once. `star.structures` knows what each operator costs; here it is summed over slots,
with regard to who owns which weights and keeps which features.
"""

from functools import lru_cache
from typing import NamedTuple

from star.spec import Dimensions, LivSpec, Slot
from star.structures import rules_of
from star.structures.feature import kept_columns
from star.structures.structure import CacheEntry

MOST_ROWS = 65_536  # operator classes that a pricer remembers


class Cost(NamedTuple):
    """Totals of a model. `params` holds `embedding_params`; the tied head adds none.

    `active_params` are those that one token goes through, all but the experts that it is not routed to; where slots
    share experts, and a token may be routed to other ones in each, it is the least number. `cache_bytes_per_token` are
    those that one more token adds. `flops` are those of a forward pass over `context` tokens, the head included: see
    `star.structures` for what is counted; `flops_per_token` is their share of one token. A training step costs three
    times as many: every product has two gradients.
    """

    params: int
    embedding_params: int
    active_params: int
    cache_bytes: int
    cache_bytes_per_token: int
    flops: int
    flops_per_token: float


class LayerCost(NamedTuple):
    """One slot's own share of a Cost, and the earlier slots whose weights or features it uses."""

    slot: int
    name: str
    params: int
    active_params: int
    cache_bytes: int
    flops_per_token: float
    shares_with: tuple[int, ...]


class _Share(NamedTuple):
    """What one slot adds: parameters, those a token leaves out, FLOPs, cache elements fixed, per token, per token of a
    band."""

    params: int
    idle: int
    flops: int
    fixed: int
    growing: int
    banded: int


class _Entry(NamedTuple):
    """Cache elements that follow from the features of `groups` (indices): slots that share these keep them once."""

    groups: tuple[int, ...]
    fixed: int
    growing: int
    banded: int


class _Row(NamedTuple):
    """One operator class at one scale and length: what it adds on its own, and parts that sharing takes away."""

    whole: _Share
    group_params: tuple[int, ...]
    group_idle: tuple[int, ...]
    group_flops: tuple[int, ...]  # that sharing the feature saves
    entries: tuple[_Entry, ...]


def _row(liv: LivSpec, dims: Dimensions, tokens: int) -> _Row:
    rules = rules_of(liv)
    rules.check_fits(liv, dims)
    copies = 2 if liv.differential else 1
    roles = [group.role for group in liv.groups]
    kept = rules.keeps(liv, dims)
    entries = [_Entry((g,), copies * kept_columns(group, dims), 0, 0) for g, group in enumerate(liv.groups)]
    entries += [_entry(one, roles, copies) for one in kept if one.roles]
    params = tuple(copies * rules.group_params(liv, group, dims) for group in liv.groups)
    idle = tuple(copies * rules.idle_group_params(liv, group, dims) for group in liv.groups)
    flops = tuple(copies * rules.group_flops(liv, group, dims, tokens) for group in liv.groups)
    saved = tuple(0 if role in rules.deferred else cost for role, cost in zip(roles, flops, strict=True))
    whole = _Share(
        params=sum(params) + copies * rules.params(liv, dims) + dims.d_model,  # and a norm
        idle=sum(idle) + copies * rules.idle_params(liv, dims),
        flops=sum(flops) + copies * rules.flops(liv, dims, tokens),
        fixed=sum(one.fixed for one in entries) + copies * sum(one.fixed for one in kept if not one.roles),
        growing=sum(one.growing for one in entries),
        banded=sum(one.banded for one in entries),
    )
    return _Row(whole, params, idle, saved, tuple(entry for entry in entries if any(entry[1:])))


def _entry(one: CacheEntry, roles: list[str], copies: int) -> _Entry:
    growing = copies * one.growing
    groups = tuple(roles.index(role) for role in one.roles)
    return _Entry(groups, copies * one.fixed, 0 if one.banded else growing, growing if one.banded else 0)


class _Pricer:
    """Prices slots at one set of dimensions and one length, remembering the row of each operator class it has met."""

    def __init__(self, dims: Dimensions, tokens: int) -> None:
        self.dims = dims
        self.tokens = tokens
        self._rows: dict[int, tuple[LivSpec, _Row]] = {}  # by identity: hashing a LivSpec costs more than pricing it

    def row(self, liv: LivSpec) -> _Row:
        known = self._rows.get(id(liv))
        if known is None or known[0] is not liv:
            if len(self._rows) >= MOST_ROWS:
                self._rows.clear()
            self._rows[id(liv)] = known = (liv, _row(liv, self.dims, self.tokens))
        return known[1]

    def layers(self, slots: tuple[Slot, ...]) -> list[_Share]:
        """What each slot adds to the whole."""
        result = []
        kept: set[tuple[int, ...]] = set()  # by slots that make some of the features and reuse others
        for i, (class_id, liv, weights, features) in enumerate(slots):
            row = self.row(liv)
            if features.count(i) == weights.count(i) == len(features):
                result.append(row.whole)
                continue
            params, idle, flops, fixed, growing, banded = row.whole
            for g, (producer, owner) in enumerate(zip(features, weights, strict=True)):
                if producer != i:
                    flops -= row.group_flops[g]
                if producer != i or owner != i:
                    params -= row.group_params[g]
                    idle -= row.group_idle[g]
            for number, entry in enumerate(row.entries):
                makers = [features[g] for g in entry.groups]
                key = (class_id, number, *makers)
                # One that all comes from one slot is kept there.
                if i not in makers and (makers.count(makers[0]) == len(makers) or key in kept):
                    fixed -= entry.fixed
                    growing -= entry.growing
                    banded -= entry.banded
                kept.add(key)
            result.append(_Share(params, idle, flops, fixed, growing, banded))
        return result


@lru_cache(maxsize=64)
def _pricer(dims: Dimensions, tokens: int) -> _Pricer:
    return _Pricer(dims, tokens)


def price(slots: tuple[Slot, ...], dims: Dimensions, context: int | None = None, dtype_bytes: int = 2) -> Cost:
    """Total parameters and cache bytes of a model.

    Args:
        slots: a decoded genome.
        dims: the sizes to price at.
        context: tokens held in the cache, and run over for the FLOPs; `dims.seq_len` if None.
        dtype_bytes: bytes of one cache element, 2 for bf16.

    Raises:
        UserError: an operator that cannot be built at `dims`.
    """
    tokens = dims.seq_len if context is None else context
    shares = _pricer(dims, tokens).layers(slots)
    total = _Share(*map(sum, zip(*shares, strict=True))) if shares else _Share(0, 0, 0, 0, 0, 0)
    embedding = dims.vocab_size * dims.d_model
    params = total.params + embedding + dims.d_model
    flops = total.flops + 2 * embedding * tokens  # the head
    elements = _elements(total, tokens, dims)
    return Cost(
        params=params,
        embedding_params=embedding,
        active_params=params - total.idle,
        cache_bytes=elements * dtype_bytes,
        cache_bytes_per_token=(_elements(total, tokens + 1, dims) - elements) * dtype_bytes,
        flops=flops,
        flops_per_token=flops / tokens,
    )


def itemise(
    slots: tuple[Slot, ...], dims: Dimensions, context: int | None = None, dtype_bytes: int = 2
) -> list[LayerCost]:
    """The same, slot by slot: arguments as for `price`. What no slot holds is embedding and final norm."""
    tokens = dims.seq_len if context is None else context
    return [
        LayerCost(
            slot=i,
            name=slot.liv.name,
            params=share.params,
            active_params=share.params - share.idle,
            cache_bytes=_elements(share, tokens, dims) * dtype_bytes,
            flops_per_token=share.flops / tokens,
            shares_with=tuple(sorted({*slot.weights_from, *slot.features_from} - {i})),
        )
        for i, (slot, share) in enumerate(zip(slots, _pricer(dims, tokens).layers(slots), strict=True))
    ]


def _elements(share: _Share, tokens: int, dims: Dimensions) -> int:
    return share.fixed + share.growing * tokens + share.banded * min(tokens, dims.band)
