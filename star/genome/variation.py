"""How genomes arise and change: sampling, repair, 2-point crossover, mutation (arXiv:2411.17800, section 4).

Two-point crossover and a mutation probability of 10 % are the paper's; that the probability is per integer
and that cuts may fall inside a slot are decided here (docs/decisions/0003-evolution.md).
"""

from collections.abc import Sequence

import numpy as np

from star.genome.alphabet import GENES_PER_SLOT, gene_bounds
from star.records import Genome
from star.spec import UserError

MUTATION_RATE = 0.1


def sample(num_slots: int, rng: np.random.Generator) -> Genome:
    """A genome with every gene uniform over its range."""
    low, high = gene_bounds(num_slots)
    return tuple(rng.integers(low, high + 1).tolist())


def repair(values: Sequence[int]) -> Genome:
    """The genome nearest to `values`: each integer moved to the closest value of its gene. Idempotent.

    Any vector within range already decodes (see decoding), so range is all there is to repair.
    """
    if not len(values) or len(values) % GENES_PER_SLOT:
        raise UserError(f"a genome has {GENES_PER_SLOT} integers a slot; {len(values)} integers are not whole slots")
    low, high = gene_bounds(len(values) // GENES_PER_SLOT)
    return tuple(np.clip(np.asarray(values, dtype=np.int64), low, high).tolist())


def crossover(a: Genome, b: Genome, rng: np.random.Generator) -> tuple[Genome, Genome]:
    """Two children that swap the stretch between two random cuts of the integer string."""
    assert len(a) == len(b), (len(a), len(b))
    start, stop = sorted(rng.choice(len(a) + 1, size=2, replace=False).tolist())
    return a[:start] + b[start:stop] + a[stop:], b[:start] + a[start:stop] + b[stop:]


def mutate(genome: Genome, rng: np.random.Generator, rate: float = MUTATION_RATE) -> Genome:
    """Each integer replaced, with probability `rate`, by a uniform draw from its gene's other values."""
    low, high = gene_bounds(len(genome) // GENES_PER_SLOT)
    hit = (rng.random(len(genome)) < rate) & (high > low)
    values = np.asarray(genome)
    drawn = rng.integers(low, np.maximum(high, low + 1))  # one value fewer than the range: the present one
    drawn += drawn >= values
    return tuple(np.where(hit, drawn, values).tolist())
