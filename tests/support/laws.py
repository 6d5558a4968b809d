"""Runs for the tests of scaling laws: published ones, and others drawn from a law."""

import csv

import numpy as np

from star.laws.runs import Runs
from support.paths import TESTS

DATA = TESTS / "laws" / "data"


def read_columns(name: str, **where: str) -> dict[str, np.ndarray]:
    """Return the columns of a file of numbers; rows are those whose texts are as in `where`."""
    with (DATA / name).open() as file:
        rows = [row for row in csv.DictReader(file) if all(row[key] == text for key, text in where.items())]
    return {key: np.array([float(row[key]) for row in rows]) for key in rows[0] if key not in where}


def read_epoch() -> Runs:
    """Return the 240 runs that the refit of Besiroglu et al. 2024 uses: without the five of the highest losses."""
    columns = read_columns("epoch2024.csv")
    return Runs(**columns, tokens=columns["flops"] / (6 * columns["params"])).without_highest(5)


def read_gadre(corpus: str) -> Runs:
    """Return the runs of a corpus: c4_original, rpj or rw_original."""
    return Runs(**read_columns("gadre2024.csv", corpus=corpus))


def read_muennighoff() -> Runs:
    """Return all 296 runs, of which many see their tokens several times."""
    return Runs(**read_columns("muennighoff2023.csv"))


def draw_runs(law, number: int, noise: float = 0.0, seed: int = 0, convention: str = "total") -> Runs:
    """Return runs whose N, D, unique tokens, experts and granularity are drawn independently, with losses of a law and
    normal errors of their logarithms."""
    random = np.random.default_rng(seed)
    params = np.exp(random.uniform(np.log(5e7), np.log(2e10), number))
    tokens = np.exp(random.uniform(np.log(1e9), np.log(5e11), number))
    runs = Runs(
        params=params,
        tokens=tokens,
        loss=np.ones(number),
        unique_tokens=tokens / random.choice([1, 1, 4, 16, 40], number),
        active_params=params,
        experts=random.choice([1.0, 2.0, 8.0, 32.0], number),
        granularity=random.choice([1.0, 2.0, 4.0, 16.0], number),
        convention=convention,
    )
    return with_losses(runs, law.predict(runs) * np.exp(random.normal(0, noise, number)))


def with_losses(runs: Runs, loss: np.ndarray) -> Runs:
    """Return the same runs with other losses."""
    return Runs(**{**vars(runs), "loss": loss})
