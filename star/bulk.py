"""The costs of many genomes at once, equal to those of `star.cost` one by one.

What a slot adds to a model follows from its class, from the features that it takes over and from the weights that it
takes over; from where is irrelevant. Whether it takes any over is a question of what earlier slots of its class and
group did, and sharing strategies are three:

    shared(slot)   = named(slot)    & OR of named(earlier slot),    over slots of its class and feature-sharing group
    borrowed(slot) = computed(slot) & OR of computed(earlier slot), over slots of its class and featurizer-sharing group

`named` has a bit for each strategy all of whose features the slot's own strategy names, so that "both" is a bit of its
own: a cache entry of two features is kept once if one slot named both before. `computed` has a bit for the features that
each of the first two strategies names, if not shared, and one for all others. Class and bits are a *pattern*; what a slot
of a pattern adds is read off a genome of a few slots that `star.cost` prices with and without it, and a genome's cost
is a sum of table entries. Nothing here knows what an operator costs.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from star.cost import Cost, price
from star.genome import DECK, EMPTY, GENES, GENES_PER_SLOT, check, decode
from star.genome.alphabet import num_groups
from star.records import Genome
from star.spec import Dimensions, Slot

FIRST, SECOND, BOTH, REST = 1, 2, 4, 4  # bits: of what the strategies 2, 3, 4 name; REST in the place of BOTH if computed
STRATEGIES = {2: FIRST, 3: SECOND, 4: BOTH}
PATTERNS = 64  # of one class: three bits of shared, three of borrowed
BLOCK = 65_536  # slots at a time: as many as caches of the processor hold
LONGEST = 2**63 - 1

# Strategies of earlier slots in the group and the slot's own, for all that it can share; and of an earlier slot whose
# weights can be borrowed, in a group where all is shared.
SHARING = (((), 1), ((2,), 2), ((3,), 3), ((2, 3), 4), ((4,), 4))
LENDING = (0, 4, 3, 2, 1)

SUMS = tuple(name for name in Cost._fields if name != "flops_per_token")
Row = tuple[int, ...]  # a number for each of SUMS


class Costs(NamedTuple):
    """The fields of `Cost`, an array each: of int64, of exact Python integers (dtype object) where the costliest genome
    could pass 2**63 - 1, or of float64 (`flops_per_token`, and bytes of a cache whose elements are no whole bytes)."""

    params: np.ndarray
    embedding_params: np.ndarray
    active_params: np.ndarray
    cache_bytes: np.ndarray
    cache_bytes_per_token: np.ndarray
    flops: np.ndarray
    flops_per_token: np.ndarray


def price_many(
    genomes: Sequence[Genome] | np.ndarray, dims: Dimensions, context: int | None = None, dtype_bytes: float = 2
) -> Costs:
    """What `price(decode(genome), dims, context, dtype_bytes)` gives for each of the genomes.

    Genomes with a deck of their own are priced one by one.

    Args:
        genomes: of any lengths, or an array of one in each row.
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
        columns[name] = _times(columns[name], dtype_bytes)
    # Python's division, for numpy rounds integers above 2**53 before it divides.
    per_token = np.array([flops / tokens for flops in columns["flops"].tolist()], dtype=np.float64)
    return Costs(**columns, flops_per_token=per_token)


def _times(elements: np.ndarray, dtype_bytes: float) -> np.ndarray:
    if isinstance(dtype_bytes, int) and elements.size and int(elements.max()) * dtype_bytes > LONGEST:
        elements = elements.astype(object)
    return elements * dtype_bytes


def _sum_mixed(genomes: Sequence[Genome] | np.ndarray, dims: Dimensions, tokens: int) -> list[np.ndarray]:
    places: dict[int, list[int]] = {}  # by length; 0 for genomes with a deck of their own
    for place, genome in enumerate(genomes):
        backbone = len(genome) and genome[0] >= 0
        places.setdefault(len(genome) if backbone else 0, []).append(place)
    parts = []
    for length, those in places.items():
        chosen = [genomes[place] for place in those]
        parts.append(_sum_backbones(np.array(chosen), dims, tokens) if length else _sum_each(chosen, dims, tokens))
    if not parts:
        return [np.zeros(0, np.int64)] * len(SUMS)
    order = np.argsort(np.concatenate(list(places.values())))
    return [np.concatenate(columns)[order] for columns in zip(*parts, strict=True)]


def _sum_each(genomes: list[Genome], dims: Dimensions, tokens: int) -> list[np.ndarray]:
    rows = [_price(decode(check(tuple(map(int, genome)))), dims, tokens) for genome in genomes]
    return [_column(list(column), max(column)) for column in zip(*rows, strict=True)]


def _sum_backbones(genomes: np.ndarray, dims: Dimensions, tokens: int) -> list[np.ndarray]:
    """The sums of genomes without a deck of their own, all of one length."""
    _check(genomes)
    num_slots = genomes.shape[1] // GENES_PER_SLOT
    slots = genomes.reshape(-1, num_slots, GENES_PER_SLOT)
    classes = tuple(np.flatnonzero(np.bincount(slots[:, :, 0].ravel())).tolist())
    table, rest = _tables(classes, num_slots, dims, tokens)
    size = max(1, BLOCK // num_slots)
    blocks = [slots[start : start + size] for start in range(0, len(slots), size)]
    parts = [_sum_block(block.astype(np.intp, copy=False), table, rest) for block in blocks]
    if not parts:
        return [np.zeros(0, column.dtype) for column in rest]
    return [np.concatenate(columns) for columns in zip(*parts, strict=True)]


def _check(genomes: np.ndarray) -> None:
    """What `check` says of the first of the genomes that is malformed."""
    num_genes = genomes.shape[1]
    num_slots = num_genes // GENES_PER_SLOT
    low = np.tile([gene.low for gene in GENES], num_slots)
    high = np.tile([gene.highest(num_slots) for gene in GENES], num_slots)
    if num_slots and num_genes % GENES_PER_SLOT == 0:
        right = ((genomes >= low) & (genomes <= high)).all(axis=1)
        if right.all():
            return
        genomes = genomes[~right]
    for genome in genomes:
        check(tuple(genome.tolist()))


def _sum_block(slots: np.ndarray, table: list[np.ndarray], rest: list[np.ndarray]) -> list[np.ndarray]:
    patterns = _patterns(slots)
    used = (slots[:, :, 0] != EMPTY).sum(axis=1)
    return [
        alone.take(used) + (column.take(patterns).sum(axis=1) if column.any() else 0)
        for column, alone in zip(table, rest, strict=True)
    ]


def _patterns(slots: np.ndarray) -> np.ndarray:
    """The pattern of each slot of a backbone, where `slots` has shape (genomes, slots, genes)."""
    num_genomes, num_slots, _ = slots.shape
    classes, weight_groups, weight_strategies, groups, strategies = slots.reshape(-1, GENES_PER_SLOT).T
    lanes = np.repeat(np.arange(num_genomes), num_slots) * (1 + max(DECK)) + classes
    lanes *= 1 + num_groups(num_slots)
    table = np.empty((1 + max(DECK)) * (1 + num_groups(num_slots)) * num_genomes, np.intp)
    named = _named().take(classes * (1 + max(STRATEGIES)) + strategies)
    shared = _repeated(named, lanes + groups, table)
    computed = (~shared & (FIRST | SECOND) | REST) * ((weight_strategies == 2) & (classes != EMPTY)).view(np.uint8)
    borrowed = _repeated(computed, lanes + weight_groups, table)
    return (classes * PATTERNS + (borrowed * 8 + shared)).reshape(num_genomes, num_slots)


def _repeated(bits: np.ndarray, keys: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The bits of each element that an earlier element with the same key has too."""
    result = np.zeros_like(bits)
    for bit in (1, 2, 4):
        chosen = np.flatnonzero(bits & bit != 0)
        own = keys.take(chosen)
        table[own[::-1]] = chosen[::-1]  # of equal keys the last one stays: the first element, read backwards
        result[chosen.compress(table.take(own) != chosen)] |= bit
    return result


@lru_cache(maxsize=1)
def _named() -> np.ndarray:
    """The bits that a strategy names, by class and strategy: those of all strategies whose features it covers."""
    result = np.zeros((1 + max(DECK), 1 + max(STRATEGIES)), np.uint8)
    for number in DECK:
        names = {one: _common(number, one, one) for one in STRATEGIES}
        for own in STRATEGIES:
            result[number, own] = sum(
                bit for other, bit in STRATEGIES.items() if _common(number, own, other) == names[other]
            )
    return result.ravel()


def _common(number: int, one: int, other: int) -> set[int]:
    """The features of a class that two strategies both name."""
    _, slot = decode((number, 1, 1, 1, one, number, 1, 1, 1, other))
    return {index for index, producer in enumerate(slot.features_from) if producer == 0}


@lru_cache(maxsize=64)
def _tables(
    classes: tuple[int, ...], num_slots: int, dims: Dimensions, tokens: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each of SUMS, what a slot adds, by pattern; and what is left of a model's cost, by the number of its slots."""
    known = [number for number in classes if number != EMPTY]
    table = {pattern: row for number in known for pattern, row in _rows(number, dims, tokens).items()}
    rest = _rest(known[0] if known else EMPTY, num_slots, dims, tokens)
    columns = np.zeros((len(SUMS), (1 + max(DECK)) * PATTERNS), object)
    for pattern, row in table.items():
        columns[:, pattern] = row
    most = [max(map(abs, of_all)) + num_slots * max(column) for of_all, column in zip(rest, columns, strict=True)]
    return (
        [_column(column.tolist(), limit) for column, limit in zip(columns, most, strict=True)],
        [_column(of_all, limit) for of_all, limit in zip(rest, most, strict=True)],
    )


def _column(values: list[int], limit: int) -> np.ndarray:
    return np.array(values, dtype=np.int64 if limit <= LONGEST else object)


@lru_cache(maxsize=4096)
def _rows(number: int, dims: Dimensions, tokens: int) -> dict[int, Row]:
    """What a slot of each pattern of a class adds to the slots before it."""
    witnesses = _witnesses(number)
    rows: dict[int, Row] = {}
    for genome, pattern in zip(witnesses.tolist(), _patterns(witnesses)[:, -1].tolist(), strict=True):
        if pattern not in rows:
            slots = decode(tuple(gene for slot in genome for gene in slot))
            with_it, without = (_price(some, dims, tokens) for some in (slots, slots[:-1]))
            rows[pattern] = tuple(a - b for a, b in zip(with_it, without, strict=True))
    return rows


def _witnesses(number: int) -> np.ndarray:
    """Backbones of five slots of a class, the last of which has every pattern that there is."""
    genomes = []
    for earlier, strategy in SHARING:
        for lent in LENDING:
            lender = [(2, 1, 2, 4), (1, 2, 2, lent)] if lent else []
            slots = [*lender, *((2, 1, 1, one) for one in earlier), (1, 2 if lent else 1, 1, strategy)]
            genomes.append([(1, 1, 1, 1)] * (5 - len(slots)) + slots)
    return np.insert(np.array(genomes), 0, number, axis=2)


@lru_cache(maxsize=64)
def _rest(number: int, num_slots: int, dims: Dimensions, tokens: int) -> list[list[int]]:
    """For each of SUMS, a model's cost less what its slots add, for up to so many slots; they are of a class that stands
    for all."""
    alone = _rows(number, dims, tokens)[number * PATTERNS] if number != EMPTY else (0,) * len(SUMS)
    slots = decode((number, 1, 1, 1, 1) * num_slots)
    rows = [_price(slots[:count], dims, tokens) for count in range(len(slots) + 1)]
    return [[row[i] - count * alone[i] for count, row in enumerate(rows)] for i in range(len(SUMS))]


def _price(slots: tuple[Slot, ...], dims: Dimensions, tokens: int) -> Row:
    """The sums of a model, its cache in elements."""
    cost = price(slots, dims, tokens, dtype_bytes=1)
    return tuple(getattr(cost, name) for name in SUMS)
