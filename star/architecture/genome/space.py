"""The search space of genomes: sampling, repair, crossover, mutation.

Two-point crossover and a mutation probability of 10 % in the backbone are those of Thomas et al. 2024
(arXiv:2411.17800), who evolve this level alone; that the probability is per integer and that cuts may fall inside a
slot are decided here (docs/decisions/0003-evolution.md), and so is all that concerns the lower levels (0006-levels.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

import numpy as np

from star.architecture.codes import UNSEARCHED, Nonlinearity
from star.architecture.genome.alphabet import GENES, GENES_PER_SLOT, num_groups
from star.architecture.genome.codec import (
    MAX_CLASSES,
    check_deck_size,
    check_slot,
    join,
    slot_bounds,
    split,
    split_deck,
)
from star.architecture.genome.deck import DECK, DECKS, EMPTY
from star.architecture.genome.operator import (
    ALPHABET,
    CODES,
    GENES_PER_CLASS,
    GENES_PER_GROUP,
    GENES_PER_OPERATOR,
    MAX_GROUPS,
    ClassGenes,
    describe_class,
    genes_of,
    repair_class,
)
from star.errors import UserError
from star.records import Genome

LEVELS = ("backbone", "all")
# The values of each integer of a class that mutation draws from.
CLASS_ALPHABET: tuple[tuple[int, ...], ...] = (
    (1, 2),
    *(tuple(int(code) for code in codes if codes is not Nonlinearity or code not in UNSEARCHED) for _, codes in CODES),
    *ALPHABET * MAX_GROUPS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Probabilities of change. Mutation: of one integer of a level. Crossover: that two parents exchange classes
    (operator) or feature groups (featurizer) at all; the backbone always takes part.
    """

    backbone_mutation: float = 0.1
    operator_mutation: float = 0.05
    featurizer_mutation: float = 0.05
    operator_crossover: float = 0.5
    featurizer_crossover: float = 0.1


@dataclass(frozen=True, slots=True)
class Space:
    """All genomes of `num_slots` slots over a named deck. With levels "all", each genome has a deck of its own, which
    starts with classes of the named one and evolves too.
    """

    num_slots: int
    deck: str = "paper"
    levels: str = "backbone"
    rates: Rates = Rates()

    @property
    def num_classes(self) -> int:
        """The number of classes of a genome's own deck, one for every two slots, which can share; 0 without a deck."""
        return min(max(1, self.num_slots // 2), MAX_CLASSES) if self.levels == "all" else 0

    @property
    def length(self) -> int:
        """The number of integers of a genome."""
        deck = 1 + self.num_classes * GENES_PER_CLASS if self.num_classes else 0
        return deck + self.num_slots * GENES_PER_SLOT

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and highest value of every integer of a backbone, each of shape (5 num_slots,)."""
        return _bounds(self.num_slots, self._lowest_class(), self.num_classes or max(DECKS[self.deck]))

    def _lowest_class(self) -> int:
        return EMPTY if EMPTY in DECKS[self.deck] else 1

    def sample(self, rng: np.random.Generator) -> Genome:
        """Return a genome with backbone genes uniform over their ranges and classes uniform over the named deck."""
        known = [number for number in DECKS[self.deck] if number != EMPTY]
        drawn = rng.choice(known, size=self.num_classes).tolist() if self.num_classes else []
        classes = tuple(genes_of(DECK[number]) for number in drawn)
        low, high = self.bounds()
        return join(classes, tuple(rng.integers(low, high + 1).tolist()))

    def repair(self, values: Sequence[int]) -> Genome:
        """Return the genome nearest to `values`: classes repaired to valid ones, each integer of the backbone moved to
        the closest value of its gene. Idempotent.
        """
        if len(values) != self.length:
            raise UserError(f"a genome of {self.num_slots} slots has {self.length} integers here, not {len(values)}")
        integers = tuple(map(int, values))  # those of pymoo are numpy's, and may be out of range
        classes, backbone = split((-self.num_classes, *integers[1:])) if self.num_classes else ((), integers)
        low, high = (bound.tolist() for bound in self.bounds())
        clipped = tuple(map(min, map(max, backbone, low), high))
        return join(tuple(map(repair_class, classes)), clipped)

    def crossover(self, a: Genome, b: Genome, rng: np.random.Generator) -> tuple[Genome, Genome]:
        """Return two children that swap the stretch between two random cuts of the backbone; and, with the
        probabilities of their levels, stretches of whole classes and of feature groups. Children are not repaired.
        """
        assert len(a) == len(b) == self.length, (len(a), len(b), self.length)
        (a_deck, a_backbone), (b_deck, b_backbone) = split(a), split(b)
        a_backbone, b_backbone = _swap(a_backbone, b_backbone, 1, rng)
        if self.num_classes:
            a_genes, b_genes = (tuple(gene for one in deck for gene in one) for deck in (a_deck, b_deck))
            if rng.random() < self.rates.operator_crossover:
                a_genes, b_genes = _swap(a_genes, b_genes, GENES_PER_CLASS, rng)
            if rng.random() < self.rates.featurizer_crossover:
                a_genes, b_genes = _swap_groups(a_genes, b_genes, rng)
            a_deck, b_deck = split_deck(a_genes), split_deck(b_genes)
        return join(a_deck, a_backbone), join(b_deck, b_backbone)

    def mutate(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Replace each integer, with the probability of its level, by a uniform draw from its gene's other values. The
        mutant is not repaired.
        """
        classes, backbone = split(genome)
        low, high = self.bounds()
        hit = (rng.random(len(backbone)) < self.rates.backbone_mutation) & (high > low)
        values = np.asarray(backbone)
        drawn = rng.integers(low, np.maximum(high, low + 1))  # one value fewer than the range: the present one
        drawn += drawn >= values
        mutant = tuple(np.where(hit, drawn, values).tolist())
        return join(tuple(self._mutate_class(one, rng) for one in classes), mutant)

    def _mutate_class(self, genes: ClassGenes, rng: np.random.Generator) -> ClassGenes:
        rates = [self.rates.operator_mutation] * GENES_PER_OPERATOR
        rates += [self.rates.featurizer_mutation] * (len(genes) - GENES_PER_OPERATOR)
        result = list(genes)
        for i in np.flatnonzero(rng.random(len(genes)) < rates).tolist():
            others = [value for value in CLASS_ALPHABET[i] if value != genes[i]]
            result[i] = int(rng.choice(others)) if others else genes[i]
        return tuple(result)


def check(genome: Sequence[int]) -> Genome:
    """Return the genome if every gene is within its range. Raise UserError with the first that is not and its range."""
    genes = tuple(genome)
    num_classes = max(0, -genes[0]) if genes else 0
    backbone = genes[1 + num_classes * GENES_PER_CLASS :] if num_classes else genes
    if not backbone or len(backbone) % GENES_PER_SLOT:
        raise UserError(f"a genome has {GENES_PER_SLOT} integers a slot; {len(backbone)} integers are not whole slots")
    check_deck_size(num_classes)
    classes, _ = split(genes)
    for number, one in enumerate(classes, start=1):
        if repair_class(one) != one:
            _refuse_class(one, number)
    num_slots = len(backbone) // GENES_PER_SLOT
    low, high = _bounds(num_slots, EMPTY, num_classes or GENES[0].high)
    values = np.asarray(backbone)
    if not ((low <= values) & (values <= high)).all():
        bounds = slot_bounds(num_slots, num_classes)
        for i in range(num_slots):
            check_slot(backbone[i * GENES_PER_SLOT : (i + 1) * GENES_PER_SLOT], bounds, i + 1)
    return genes


def _refuse_class(genes: ClassGenes, number: int) -> NoReturn:
    try:
        describe_class(genes)
    except UserError as error:
        raise UserError(f"class {number} of the genome: {error}") from error
    place, value, right = next(
        (i, *pair) for i, pair in enumerate(zip(genes, repair_class(genes), strict=True)) if pair[0] != pair[1]
    )
    raise UserError(f"class {number} of the genome: integer {place + 1}, which has no effect, is {value}, not {right}")


@lru_cache(maxsize=64)
def _bounds(num_slots: int, lowest_class: int, highest_class: int) -> tuple[np.ndarray, np.ndarray]:
    groups = num_groups(num_slots)
    low = np.array([lowest_class, *(gene.low for gene in GENES[1:])] * num_slots)
    high = np.array([highest_class, *(gene.high or groups for gene in GENES[1:])] * num_slots)
    return low, high


def _swap(a: Genome, b: Genome, unit: int, rng: np.random.Generator) -> tuple[Genome, Genome]:
    """Exchange the stretch between two random cuts, which lie between units of that many integers."""
    start, stop = sorted(rng.choice(len(a) // unit + 1, size=2, replace=False).tolist())
    start, stop = start * unit, stop * unit
    return a[:start] + b[start:stop] + a[stop:], b[:start] + a[start:stop] + b[stop:]


def _swap_groups(a: Genome, b: Genome, rng: np.random.Generator) -> tuple[Genome, Genome]:
    """Exchange a stretch of feature groups, with the groups of all classes in a row; operator genes are unchanged."""
    places = [i for i in range(len(a)) if i % GENES_PER_CLASS >= GENES_PER_OPERATOR]
    rows_a, rows_b = (tuple(genes[i] for i in places) for genes in (a, b))
    swapped = _swap(rows_a, rows_b, GENES_PER_GROUP, rng)
    children = []
    for genes, rows in zip((a, b), swapped, strict=True):
        child = list(genes)
        for place, gene in zip(places, rows, strict=True):
            child[place] = gene
        children.append(tuple(child))
    return children[0], children[1]
