"""Approach 1 of Hoffmann et al. 2022 (arXiv:2203.15556): the lower envelope of training curves."""

import numpy as np

from star.errors import UserError
from star.laws.isoflop import Allocation, Vertex, through
from star.laws.runs import Runs

BUDGETS = 1500  # at which the envelope is looked up
LEAST_CURVES = 3  # sizes with several losses


def fit_envelope(runs: Runs) -> Allocation:
    """Return the allocation through the sizes whose training curve is the lowest at each of 1,500 budgets.

    The rows of one N are a training curve, or trainings of several lengths; losses between them are interpolated in
    log C. A budget counts where neither the smallest nor the largest of the sizes seen there is the best. Losses of a
    run before its learning rate has decayed are too high, which biases the result to small models.

    Raises:
        UserError: fewer than three sizes have several losses, or the best size never lies between others.
    """
    curves = []
    for size in np.unique(runs.used_params):
        rows = np.flatnonzero(runs.used_params == size)
        if len(np.unique(runs.budgets[rows])) > 1:
            rows = rows[np.argsort(runs.budgets[rows])]
            curves.append((size, np.log(runs.budgets[rows]), runs.loss[rows]))
    if len(curves) < LEAST_CURVES:
        raise UserError(f"the envelope needs {LEAST_CURVES} sizes with losses at several tokens, not {len(curves)}")
    budgets = np.linspace(min(one[1][0] for one in curves), max(one[1][-1] for one in curves), BUDGETS)
    losses = np.stack([np.interp(budgets, at, loss, left=np.inf, right=np.inf) for _, at, loss in curves])
    sizes = np.array([size for size, _, _ in curves])
    points = []
    for budget, column in zip(budgets, losses.T, strict=True):
        seen = np.flatnonzero(np.isfinite(column))
        best = int(column.argmin())
        if len(seen) >= LEAST_CURVES and seen[0] < best < seen[-1]:
            flops, params = float(np.exp(budget)), float(sizes[best])
            points.append(Vertex(flops, params, flops / (6 * params), len(seen)))
    if len({one.params for one in points}) < LEAST_CURVES:
        raise UserError("the lowest curve is seldom one between others, so that no envelope of sizes can be told")
    return through(points)
