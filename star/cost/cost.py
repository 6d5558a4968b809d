"""Price an architecture from its slots alone: parameters, cache bytes and FLOPs in plain integer arithmetic.

No module is built. Parameters equal the built model's; cache bytes are those of the tensors that decoding keeps at
batch 1, what slots share counted once. `structures` knows what each operator costs; here it is summed over slots,
with regard to who owns which weights and keeps which features.
"""

from functools import lru_cache
from typing import NamedTuple

from star.architecture.spec import BackboneConfig, Dimensions, LivSpec, Slot
from star.architecture.structures import fit, rules_of
from star.architecture.structures.feature import kept_columns
from star.architecture.structures.structure import CacheEntry

DTYPE_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "int8": 1, "int4": 0.5}
MOST_ROWS = 65_536  # operator classes that a pricer remembers


class Cost(NamedTuple):
    """Totals of a model. `params` holds `embedding_params`; the tied head adds none.

    `active_params` are those that one token goes through, all but the experts that it is not routed to; where slots
    share experts, and a token may be routed to other ones in each, it is the least number. `cache_bytes_per_token` are
    those that one more token adds. `flops` are those of a forward pass over `context` tokens, the head included: see
    `structures` for what is counted; `flops_per_token` is their share of one token. A training step costs three
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
    """The cost that a slot adds: parameters, those a token leaves out, FLOPs, cache elements now and a token later."""

    params: int
    inactive: int
    flops: int
    elements: int
    next_elements: int


class _Entry(NamedTuple):
    """Cache elements that follow from the features of `groups` (indices). Slots that share these keep them once."""

    groups: tuple[int, ...]
    elements: int
    next_elements: int


class _Row(NamedTuple):
    """One operator class at one scale and length: the cost that it adds alone, and the parts that sharing saves."""

    whole: _Share
    group_params: tuple[int, ...]
    group_inactive: tuple[int, ...]
    group_flops: tuple[int, ...]  # that sharing the feature saves
    entries: tuple[_Entry, ...]


def _row(liv: LivSpec, dims: Dimensions, tokens: int) -> _Row:
    rules = rules_of(liv)
    fitted = fit(liv, dims)
    norms = norm_params(dims.style, dims.d_model) * (2 if fitted.norm_place(dims.style) == "both" else 1)
    shift = dims.style.shift * dims.d_model  # weights of the kernel over the slot's input
    columns = max(0, dims.style.shift - 1) * dims.d_model  # that decoding keeps of it
    dims = dims.of(fitted)
    rules.check_fits(fitted, dims)
    copies = 2 if liv.differential else 1
    groups = {group.role: group for group in fitted.groups}
    made = [groups.get(group.role) for group in liv.groups]  # None: the scale does without it
    kept = rules.cache_spec(fitted, dims)
    entries = [
        _Entry((g,), *[copies * kept_columns(group, dims)] * 2) for g, group in enumerate(made) if group is not None
    ]
    roles = [group.role for group in liv.groups]
    entries += [_entry(one, roles, copies, dims, tokens) for one in kept if one.roles]
    own = [_entry(one, roles, copies, dims, tokens) for one in kept if not one.roles]
    params = tuple(copies * rules.group_params(fitted, group, dims) if group else 0 for group in made)
    inactive = tuple(copies * rules.inactive_group_params(fitted, group, dims) if group else 0 for group in made)
    flops = tuple(copies * rules.group_flops(fitted, group, dims, tokens) if group else 0 for group in made)
    saved = tuple(0 if role in rules.deferred else cost for role, cost in zip(roles, flops, strict=True))
    whole = _Share(
        params=sum(params) + copies * rules.params(fitted, dims) + norms + shift,
        inactive=sum(inactive) + copies * rules.inactive_params(fitted, dims),
        flops=sum(flops) + copies * rules.flops(fitted, dims, tokens) + 2 * tokens * shift,
        elements=sum(one.elements for one in entries + own) + columns,
        next_elements=sum(one.next_elements for one in entries + own) + columns,
    )
    return _Row(whole, params, inactive, saved, tuple(entry for entry in entries if entry.next_elements))


def _entry(one: CacheEntry, roles: list[str], copies: int, dims: Dimensions, tokens: int) -> _Entry:
    now, then = (min(count, dims.band) if one.banded else count for count in (tokens, tokens + 1))
    groups = tuple(roles.index(role) for role in one.roles)
    return _Entry(groups, copies * (one.fixed + one.growing * now), copies * (one.fixed + one.growing * then))


def norm_params(style: BackboneConfig, d_model: int) -> int:
    """Return the parameters of one norm of the residual stream."""
    return (style.norm_gain + style.norm_bias) * d_model


class Frame(NamedTuple):
    """The parts of a model around its slots."""

    params: int
    embedding_params: int
    head_flops: int  # of one token


def frame(num_slots: int, dims: Dimensions) -> Frame:
    """Return embedding, learned positions, head, and norms outside of slots, less the norms that slots share."""
    style, table = dims.style, dims.vocab_size * dims.d_model
    positions = dims.seq_len * dims.d_model if style.positions == "learned" else 0
    embedding = table * (1 if style.tied else 2) + positions
    norm = norm_params(style, dims.d_model)
    outside = norm * (style.final_norm + style.embedding_norm) + (dims.vocab_size if style.head_bias else 0)
    saved = norm * (num_slots - len(set(style.rounds(num_slots)))) if style.shared_norm and num_slots else 0
    return Frame(embedding + outside - saved, embedding, 2 * table)


class _Pricer:
    """Price slots at one set of dimensions and one length, and cache the row of each operator class."""

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
        """Return the cost that each slot adds."""
        result = []
        kept: set[tuple[int, ...]] = set()  # by slots that make some of the features and reuse others
        for i, (class_id, liv, weights, features) in enumerate(slots):
            row = self.row(liv)
            if features.count(i) == weights.count(i) == len(features):
                result.append(row.whole)
                continue
            params, inactive, flops, elements, next_elements = row.whole
            for g, (producer, owner) in enumerate(zip(features, weights, strict=True)):
                if producer != i:
                    flops -= row.group_flops[g]
                if producer != i or owner != i:
                    params -= row.group_params[g]
                    inactive -= row.group_inactive[g]
            for number, entry in enumerate(row.entries):
                makers = [features[g] for g in entry.groups]
                key = (class_id, number, *makers)
                # One that all comes from one slot is kept there.
                if i not in makers and (makers.count(makers[0]) == len(makers) or key in kept):
                    elements -= entry.elements
                    next_elements -= entry.next_elements
                kept.add(key)
            result.append(_Share(params, inactive, flops, elements, next_elements))
        return result


@lru_cache(maxsize=64)
def _pricer(dims: Dimensions, tokens: int) -> _Pricer:
    return _Pricer(dims, tokens)


def price(slots: tuple[Slot, ...], dims: Dimensions, context: int | None = None, dtype_bytes: float = 2) -> Cost:
    """Return the total cost of a model.

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
    total = _Share(*map(sum, zip(*shares, strict=True))) if shares else _Share(0, 0, 0, 0, 0)
    outside = frame(len(slots), dims)
    params = total.params + outside.params
    flops = total.flops + outside.head_flops * tokens
    return Cost(
        params=params,
        embedding_params=outside.embedding_params,
        active_params=params - total.inactive,
        cache_bytes=_bytes(total.elements, dtype_bytes),
        cache_bytes_per_token=_bytes(total.next_elements - total.elements, dtype_bytes),
        flops=flops,
        flops_per_token=flops / tokens,
    )


def itemise(
    slots: tuple[Slot, ...], dims: Dimensions, context: int | None = None, dtype_bytes: float = 2
) -> list[LayerCost]:
    """Return the cost of each slot; arguments as for `price`. Embedding and final norm belong to no slot."""
    tokens = dims.seq_len if context is None else context
    return [
        LayerCost(
            slot=i,
            name=slot.liv.name,
            params=share.params,
            active_params=share.params - share.inactive,
            cache_bytes=_bytes(share.elements, dtype_bytes),
            flops_per_token=share.flops / tokens,
            shares_with=tuple(sorted({*slot.weights_from, *slot.features_from} - {i})),
        )
        for i, (slot, share) in enumerate(zip(slots, _pricer(dims, tokens).layers(slots), strict=True))
    ]


def _bytes(elements: int, dtype_bytes: float) -> int:
    """Return the bytes of so many elements of whole bits, rounding a part of a byte up."""
    return -(-elements * round(8 * dtype_bytes) // 8)


class Deployment(NamedTuple):
    """Memory and work of decoding `batch` sequences at once, each with a context of `context` tokens.

    `decode_flops` are those of one more token of every sequence; `intensity` is their number for each byte of weights
    and cache that they read. Tables that are only looked up are not read; of E experts that serve k for each token,
    (1 - k/E)^batch are not, if tokens are routed evenly and independently.
    """

    weight_bytes: int
    cache_bytes: int  # of all sequences
    memory_bytes: int
    decode_flops: int
    intensity: float


def memory_bytes(cost: Cost, batch: int, dtype_bytes: float) -> int:
    """Return the bytes of the weights and of the caches of `batch` sequences."""
    return _bytes(cost.params, dtype_bytes) + batch * cost.cache_bytes


def deploy(slots: tuple[Slot, ...], dims: Dimensions, context: int, batch: int, dtype_bytes: float) -> Deployment:
    """Return the memory and work of decoding; weights and cache in numbers of `dtype_bytes` bytes each."""
    cost, longer = (price(slots, dims, tokens, dtype_bytes) for tokens in (context, context + 1))
    flops, unread = longer.flops - cost.flops, 0.0
    for (_, liv, *_), share in zip(slots, _pricer(dims, context).layers(slots), strict=True):
        surplus, left = _decoding(liv, dims, context)
        flops += surplus
        unread += share.inactive * left ** (batch - 1)
    looked_up = cost.embedding_params - dims.vocab_size * dims.d_model
    cache = batch * cost.cache_bytes
    memory = memory_bytes(cost, batch, dtype_bytes)
    read = (cost.params - looked_up - unread) * dtype_bytes + cache
    return Deployment(memory - cache, cache, memory, batch * flops, batch * flops / read)


@lru_cache(maxsize=1_024)
def _decoding(liv: LivSpec, dims: Dimensions, context: int) -> tuple[int, float]:
    """Return the FLOPs of a decoded token beyond those that it adds to a sequence, and the share of experts that it
    leaves out.
    """
    rules, fitted = rules_of(liv), fit(liv, dims)
    dims = dims.of(fitted)
    added = rules.flops(fitted, dims, context + 1) - rules.flops(fitted, dims, context)
    surplus = (2 if liv.differential else 1) * (rules.decode_flops(fitted, dims, context) - added)
    left = 1 - fitted.group("R").repeat / fitted.group("R").expansion if fitted.has("R") else 0.0
    return surplus, left
