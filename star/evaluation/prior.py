"""Long trainings at a named scale that ship with the program: what an estimate of quality knows before a run has any.

A table holds a genome a line, the corpus that it was trained on, and its bits per byte after so many steps.
experiments/benchmarks/record_long.py --prior writes it from its reference.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from star.architecture.genome import parse
from star.records import Genome

FOLDER = Path(__file__).parent / "priors"
CORPUS, GENOME = "corpus", "genome"


@dataclass(frozen=True, slots=True)
class PriorTraining:
    """One line of a prior: losses in bits per byte, by the number of training steps."""

    corpus: str
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
        PriorTraining(row.pop(CORPUS), parse(row.pop(GENOME)), {int(steps): float(loss) for steps, loss in row.items()})
        for row in rows
    )
