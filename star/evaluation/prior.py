"""Long trainings at a named scale that ship with the program: what an estimate of quality knows before a run has any.

A table holds a training a line: corpus, seed, genome, and bits per byte after so many steps.
experiments/benchmarks/record_long.py --prior writes it from its reference.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from star.architecture.genome import parse
from star.records import Genome

FOLDER = Path(__file__).parent / "priors"
CORPUS, SEED, GENOME = "corpus", "seed", "genome"


@dataclass(frozen=True, slots=True)
class PriorTraining:
    """One line of a prior: losses in bits per byte, by the number of training steps."""

    corpus: str
    seed: int  # 0 for the first training of an architecture
    genome: Genome
    losses: dict[int, float]


@cache
def read_prior(scale: str) -> tuple[PriorTraining, ...]:
    """Return the prior of a scale; empty if it has none."""
    path = FOLDER / f"{scale}.csv"
    if not path.exists():
        return ()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return tuple(
        PriorTraining(
            row.pop(CORPUS),
            int(row.pop(SEED)),
            parse(row.pop(GENOME)),
            {int(steps): float(loss) for steps, loss in row.items()},
        )
        for row in rows
    )


@dataclass(frozen=True, slots=True)
class SeedNoise:
    """Noise between trainings that differ in their seed alone: the sum of squared differences from the mean of each
    architecture, and the degrees of freedom."""

    squares: float = 0.0
    freedom: int = 0

    def __add__(self, other: "SeedNoise") -> "SeedNoise":
        return SeedNoise(self.squares + other.squares, self.freedom + other.freedom)


def seed_noise(groups: Sequence[Sequence[float]]) -> SeedNoise:
    """Return the noise between seeds, pooled over groups of losses of one architecture each."""
    repeated = [group for group in groups if len(group) > 1]
    squares = (sum((one - sum(group) / len(group)) ** 2 for one in group) for group in repeated)
    return SeedNoise(math.fsum(squares), sum(len(group) - 1 for group in repeated))


def prior_noise(prior: Sequence[PriorTraining], steps: int) -> SeedNoise:
    """Return the noise between seeds after so many steps, as far as the prior has repeated trainings."""
    groups: dict[tuple[str, Genome], list[float]] = {}
    for one in prior:
        if steps in one.losses:
            groups.setdefault((one.corpus, one.genome), []).append(one.losses[steps])
    return seed_noise(list(groups.values()))
