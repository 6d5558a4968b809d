"""Price many genomes at once, with results equal to those of `cost.cost` one by one.

What a slot adds to a model follows from its class, from the features that it takes over and from the weights that it
takes over; from where is irrelevant. Whether it takes any over is a question of what earlier slots of its class and
group did, and there are three ways of naming features:

    shared(slot)   = named(slot)    & OR of named(earlier slot),    over slots of its class and feature-sharing group
    borrowed(slot) = computed(slot) & OR of computed(earlier slot), over slots of its class and featurizer-sharing group

`named` has a bit for each strategy all of whose features the slot's own strategy names, so that "both" is a bit of its
own: a cache entry of two features is kept once if one slot named both before. `computed` has a bit for the features of
each of the first two of them, if not shared, and one for all others. Class and bits are a *pattern*. What a slot of a
pattern adds is read off a backbone of a few slots, priced by `cost.cost` with and without its last; a model's cost is
a sum of such rows, and what follows from the number of slots alone. Nothing here knows what an operator costs.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from star.architecture.genome import DECK, EMPTY, GENES, GENES_PER_SLOT, check, decode
from star.architecture.genome.alphabet import num_groups
from star.architecture.spec import Dimensions, Slot
from star.cost.cost import Cost, price
from star.records import Genome

FIRST, SECOND, BOTH = 1, 2, 4  # bits of what is shared
REST = 4  # beside the first two: bits of what is borrowed
STRATEGIES = {2: FIRST, 3: SECOND, 4: BOTH}
PATTERNS = 64  # of one class: three bits of shared, three of borrowed
NUM_CLASSES = 1 + max(DECK)
BLOCK = 16_384  # slots at a time: their arrays stay in the processor's caches
LARGEST = 2**62  # so that two numbers up to it add up to an int64

# Strategies of earlier slots of a group and then of the slot itself, for all that a slot can share.
SHARING = (((), 1), ((2,), 2), ((3,), 3), ((2, 3), 4), ((4,), 4))
# The strategy of a slot whose weights can be borrowed, in a group where all is shared; 0 for no such slot.
LENDING = (0, 4, 3, 2, 1)

SUMS = tuple(name for name in Cost._fields if name != "flops_per_token")
Row = tuple[int, ...]  # a number for each of SUMS
Columns = list[np.ndarray]  # an array for each of SUMS


class Costs(NamedTuple):
    """Hold the fields of `Cost`, an array each: of int64, or of exact Python integers (dtype object) where a genome of
    these lengths and classes could come near 2**63; `flops_per_token` of float64.
    """

    params: np.ndarray
    embedding_params: np.ndarray
    active_params: np.ndarray
    cache_bytes: np.ndarray
    cache_bytes_per_token: np.ndarray
    flops: np.ndarray
    flops_per_token: np.ndarray


def price_many(
    genomes: Sequence[Genome | np.ndarray] | np.ndarray,
    dims: Dimensions,
    context: int | None = None,
    dtype_bytes: float = 2,
) -> Costs:
    """Return `price(decode(genome), dims, context, dtype_bytes)` for each genome, field by field.

    Those with a deck of their own are priced one by one.

    Args:
        genomes: of any lengths, or an array with a genome in each row.
        dims, context, dtype_bytes: as for `price`.

    Raises:
        UserError: a genome that is malformed, or an operator that cannot be built at `dims`.
    """
    tokens = dims.seq_len if context is None else context
    if isinstance(genomes, np.ndarray) and (genomes[:, :1] >= 0).all():
        sums = _sum_backbones(genomes, dims, tokens)
    else:
        sums = _sum_mixed(genomes, dims, tokens)
    columns = dict(zip(SUMS, sums, strict=True))
    for name in ("cache_bytes", "cache_bytes_per_token"):
        columns[name] = _bytes(columns[name], dtype_bytes)
    # Python's division: numpy rounds integers above 2**53 before it divides.
    per_token = np.array([flops / tokens for flops in columns["flops"].tolist()], dtype=np.float64)
    return Costs(**columns, flops_per_token=per_token)


def _bytes(elements: np.ndarray, dtype_bytes: float) -> np.ndarray:
    """Return the bytes of so many elements, rounding a part of one up."""
    if isinstance(dtype_bytes, int) and dtype_bytes * int(elements.max(initial=0)) <= LARGEST:
        return elements * dtype_bytes
    return _column([-(-number * round(8 * dtype_bytes) // 8) for number in elements.tolist()])


def _column(values: Sequence[int], limit: int = 0) -> np.ndarray:
    """Return integers as an array whose dtype also holds the sum of `limit` of them."""
    return np.array(values, dtype=np.int64 if max(limit, *map(abs, values), 0) <= LARGEST else object)


def _sum_mixed(genomes: Sequence[Genome | np.ndarray] | np.ndarray, dims: Dimensions, tokens: int) -> Columns:
    places: dict[int, list[int]] = {}  # by length; at 0 those with a deck of their own
    for place, genome in enumerate(genomes):
        is_backbone = len(genome) and genome[0] >= 0
        places.setdefault(len(genome) if is_backbone else 0, []).append(place)
    parts: list[Columns] = []
    for length, those in places.items():
        chosen = [genomes[place] for place in those]
        parts.append(_sum_backbones(np.array(chosen), dims, tokens) if length else _sum_each(chosen, dims, tokens))
    if not parts:
        return [np.zeros(0, np.int64)] * len(SUMS)
    order = np.argsort(np.concatenate(list(places.values())))
    return [np.concatenate(columns)[order] for columns in zip(*parts, strict=True)]


def _sum_each(genomes: Sequence[Genome | np.ndarray], dims: Dimensions, tokens: int) -> Columns:
    rows = [_price(decode(check(tuple(map(int, genome)))), dims, tokens) for genome in genomes]
    return [_column(values) for values in zip(*rows, strict=True)]


def _sum_backbones(genomes: np.ndarray, dims: Dimensions, tokens: int) -> Columns:
    """Return the sums of genomes without a deck of their own, all of one length."""
    num_slots, rest = divmod(genomes.shape[1], GENES_PER_SLOT)
    if rest or not num_slots or not len(genomes):
        return _sum_each(genomes.tolist(), dims, tokens) or [np.zeros(0, np.int64)] * len(SUMS)
    size = max(1, BLOCK // num_slots)
    blocks = [genomes[start : start + size] for start in range(0, len(genomes), size)]
    for block in blocks:
        _check(block, num_slots)
    classes = genomes[:, ::GENES_PER_SLOT].astype(np.intp, copy=False)
    present = tuple(number for number in np.flatnonzero(np.bincount(classes.ravel())).tolist() if number != EMPTY)
    table = _table(present, num_slots, dims, tokens)
    outside = _outside((classes != EMPTY).sum(axis=1), max(present, default=EMPTY), dims, tokens)
    parts = [_sum_block(block.reshape(-1, num_slots, GENES_PER_SLOT), table) for block in blocks]
    return [base + np.concatenate(columns) for base, *columns in zip(outside, *parts, strict=True)]


def _check(genomes: np.ndarray, num_slots: int) -> None:
    """Raise the UserError of `check` if one of the genomes is malformed."""
    kind = np.promote_types(genomes.dtype, np.int16)
    low = np.array([gene.low for gene in GENES] * num_slots, kind)
    high = np.array([gene.highest(num_slots) for gene in GENES] * num_slots, kind)
    right = (genomes >= low) & (genomes <= high)
    if not right.all():
        check(tuple(genomes[np.flatnonzero(~right.all(axis=1))[0]].tolist()))


def _sum_block(slots: np.ndarray, table: Columns) -> Columns:
    patterns = _patterns(slots.astype(np.intp, copy=False))
    nothing = np.zeros(len(slots), np.int64)
    return [column.take(patterns).sum(axis=1) if column.any() else nothing for column in table]


def _patterns(slots: np.ndarray) -> np.ndarray:
    """Return the pattern of each slot; `slots` has shape (genomes, slots, genes)."""
    num_genomes, num_slots, _ = slots.shape
    classes, weight_groups, weight_strategies, groups, strategies = slots.reshape(-1, GENES_PER_SLOT).T
    width = 1 + num_groups(num_slots)
    lanes = (np.repeat(np.arange(num_genomes) * NUM_CLASSES, num_slots) + classes) * width
    memory = np.empty(num_genomes * NUM_CLASSES * width, np.intp)
    shared = _repeated(_named().take(classes * (1 + max(STRATEGIES)) + strategies), lanes + groups, memory)
    computed = (~shared & (FIRST | SECOND) | REST) * (weight_strategies == 2).view(np.uint8)
    borrowed = _repeated(computed, lanes + weight_groups, memory)
    return (classes * PATTERNS + (borrowed * 8 + shared)).reshape(num_genomes, num_slots)


def _repeated(bits: np.ndarray, keys: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """Return the bits of each element that an earlier element with the same key has too."""
    result = np.zeros_like(bits)
    for bit in (1, 2, 4):
        chosen = np.flatnonzero(bits & bit != 0)
        own = keys.take(chosen)
        memory[own[::-1]] = chosen[::-1]  # of equal keys the last one stays: the first element, read backwards
        result[chosen.compress(memory.take(own) != chosen)] |= bit
    return result


@lru_cache(maxsize=1)
def _named() -> np.ndarray:
    """Return the bits that a strategy names, by class and strategy: those of all strategies whose features it names."""
    result = np.zeros((NUM_CLASSES, 1 + max(STRATEGIES)), np.uint8)
    for number in DECK:
        for one in STRATEGIES:
            covered = [other for other in STRATEGIES if _common(number, one, other) == _common(number, other, other)]
            result[number, one] = sum(STRATEGIES[other] for other in covered)
    return result.ravel()


def _common(number: int, one: int, other: int) -> set[int]:
    """Return the features of a class that two strategies both name."""
    _, slot = decode((number, 1, 1, 1, one, number, 1, 1, 1, other))
    return {index for index, producer in enumerate(slot.features_from) if producer == 0}


@lru_cache(maxsize=64)
def _table(classes: tuple[int, ...], num_slots: int, dims: Dimensions, tokens: int) -> Columns:
    """Return what a slot adds, by pattern; an empty slot adds nothing. Columns hold Python integers where the sum over
    a backbone may exceed an int64.
    """
    columns = np.zeros((len(SUMS), NUM_CLASSES * PATTERNS), object)
    for number in classes:
        for pattern, row in _rows(number, dims, tokens).items():
            columns[:, pattern] = row
    return [_column(column, num_slots * max(column)) for column in columns.tolist()]


@lru_cache(maxsize=4096)
def _rows(number: int, dims: Dimensions, tokens: int) -> dict[int, Row]:
    """Return what a slot of one class adds, by pattern."""
    witnesses = _witnesses(number)
    rows: dict[int, Row] = {}
    for genome, pattern in zip(witnesses, _patterns(witnesses)[:, -1].tolist(), strict=True):
        if pattern not in rows:
            slots = decode(tuple(genome.ravel().tolist()))
            whole, before = _price(slots, dims, tokens), _price(slots[:-1], dims, tokens)
            rows[pattern] = tuple(a - b for a, b in zip(whole, before, strict=True))
    return rows


def _witnesses(number: int) -> np.ndarray:
    """Return backbones of five slots of a class whose last slots have every possible pattern."""
    genomes = []
    for earlier, strategy in SHARING:
        for lent in LENDING:
            lender = [(2, 1, 2, 4), (1, 2, 2, lent)] if lent else []
            slots = [*lender, *((2, 1, 1, one) for one in earlier), (1, 2 if lent else 1, 1, strategy)]
            genomes.append([(1, 1, 1, 1)] * (5 - len(slots)) + slots)
    return np.insert(np.array(genomes), 0, number, axis=2)


def _outside(used: np.ndarray, number: int, dims: Dimensions, tokens: int) -> Columns:
    """Return a model's cost without what its slots add, which depends on their number alone."""
    counts, places = np.unique(used, return_inverse=True)
    rows = [_left(count, number, dims, tokens) for count in counts.tolist()]
    return [_column(values).take(places) for values in zip(*rows, strict=True)]


@lru_cache(maxsize=4096)
def _left(count: int, number: int, dims: Dimensions, tokens: int) -> Row:
    if not count:
        return _price((), dims, tokens)
    alone = _rows(number, dims, tokens)[number * PATTERNS]
    whole = _price(decode((number, 1, 1, 1, 1) * count), dims, tokens)
    return tuple(a - count * b for a, b in zip(whole, alone, strict=True))


def _price(slots: tuple[Slot, ...], dims: Dimensions, tokens: int) -> Row:
    """Return the sums of a model, its cache in elements."""
    cost = price(slots, dims, tokens, dtype_bytes=1)
    return tuple(getattr(cost, name) for name in SUMS)
