"""Approach 2 of Hoffmann et al. 2022 (arXiv:2203.15556): a parabola through the runs of each budget.

The lowest loss at a budget is where a parabola in log N has its vertex, and a power law goes through the vertices. The
law itself is no parabola, so the vertices are off even without noise; `bias_of` says by how much.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from star.errors import UserError
from star.laws.chinchilla import Chinchilla
from star.laws.runs import Runs

WIDTH = 1.1  # the largest budget of a group over its smallest
LEAST_RUNS = 4  # of a budget
LEAST_BUDGETS = 3


class Vertex(NamedTuple):
    """The lowest point of the parabola of a budget, and how many runs it goes through."""

    flops: float
    params: float
    tokens: float
    runs: int


@dataclass(frozen=True)
class Allocation:
    """The compute-optimal N = params_scale C^params_exponent, and D likewise, through points of lowest loss."""

    params_scale: float
    params_exponent: float
    tokens_scale: float
    tokens_exponent: float
    points: tuple[Vertex, ...] = ()

    def params(self, flops: float) -> float:
        """Return the best N at a budget."""
        return self.params_scale * flops**self.params_exponent

    def tokens(self, flops: float) -> float:
        """Return the best D at a budget."""
        return self.tokens_scale * flops**self.tokens_exponent


class Bias(NamedTuple):
    """What Approach 2 gets wrong on noiseless losses at the same N and D.

    Attributes:
        exponent: its exponent of N less the true one.
        params: its N at the largest budget over the true one.
        extrapolated: the same at a hundred times the largest budget.
    """

    exponent: float
    params: float
    extrapolated: float


def fit_isoflop(runs: Runs) -> Allocation:
    """Return the allocation through the vertices of parabolas in log N, one for each budget.

    Raises:
        UserError: fewer than three budgets with four sizes and a minimum between them.
    """
    points = [point for group in group_budgets(runs) if (point := _vertex(runs.take(group)))]
    if len(points) < LEAST_BUDGETS:
        raise UserError(
            f"IsoFLOP parabolas need {LEAST_BUDGETS} budgets with at least {LEAST_RUNS} sizes and the lowest loss "
            f"between them, not {len(points)}"
        )
    return through(points)


def group_budgets(runs: Runs) -> list[np.ndarray]:
    """Return the row numbers of the runs of each budget; budgets of a group differ by at most a tenth."""
    order = np.argsort(runs.budgets, kind="stable")
    groups: list[list[int]] = []
    for row in order:
        if not groups or runs.budgets[row] > WIDTH * runs.budgets[groups[-1][0]]:
            groups.append([])
        groups[-1].append(int(row))
    return [np.array(group) for group in groups]


def through(points: list[Vertex]) -> Allocation:
    """Return the power laws through points of lowest loss, by least squares of logarithms."""
    flops = np.log([one.flops for one in points])
    of_params, of_tokens = (np.polyfit(flops, np.log(one), 1) for one in list(zip(*points, strict=True))[1:3])
    return Allocation(
        float(np.exp(of_params[1])),
        float(of_params[0]),
        float(np.exp(of_tokens[1])),
        float(of_tokens[0]),
        tuple(points),
    )


def bias_of(runs: Runs, law: Chinchilla) -> Bias:
    """Return the bias of Approach 2 at the N and D of these runs if their losses were those of a law, without noise."""
    found = fit_isoflop(replace(runs, loss=law.predict(runs)))
    largest = float(runs.budgets.max())
    return Bias(
        exponent=found.params_exponent - law.params_exponent,
        params=found.params(largest) / law.optimum(largest).params,
        extrapolated=found.params(100 * largest) / law.optimum(100 * largest).params,
    )


def _vertex(runs: Runs) -> Vertex | None:
    """Return the vertex of a group, or None if it has too few sizes or no minimum between them."""
    sizes = np.log(runs.used_params)
    if len(np.unique(sizes)) < LEAST_RUNS:
        return None
    middle = sizes.mean()
    curve, slope, _ = np.polyfit(sizes - middle, runs.loss, 2)
    if curve <= 0:
        return None
    best = middle - slope / (2 * curve)
    if not sizes.min() <= best <= sizes.max():
        return None
    flops = float(np.exp(np.log(runs.budgets).mean()))
    params = float(np.exp(best))
    return Vertex(flops, params, flops / (6 * params), len(runs))
