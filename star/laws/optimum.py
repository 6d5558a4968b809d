"""The lowest loss that a training budget buys."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from star.errors import UserError

Loss = Callable[..., Any]  # of N and D, numbers or arrays
SMALLEST, LARGEST = np.log(1e3), np.log(1e16)  # parameters that are looked at


class Optimum(NamedTuple):
    """N and D with the lowest loss at C = 6 N D training FLOPs."""

    flops: float
    params: float
    tokens: float
    loss: float


def find_optimum(loss: Loss, flops: float) -> Optimum:
    """Return the optimum of any law by a search over log N.

    Args:
        loss: of N and D, as the method of a law, or a partial of it with fixed unique tokens or experts.
        flops: C = 6 N D.

    Raises:
        UserError: the loss falls up to an end of the range of N.
    """

    def cost(log_params):
        params = np.exp(log_params)
        return loss(params, flops / 6 / params)

    grid = np.linspace(SMALLEST, min(LARGEST, np.log(flops / 6)), 400)
    best = int(np.argmin(cost(grid)))
    if best in (0, len(grid) - 1):
        raise UserError(f"the law has no compute-optimal size at {flops:.3g} FLOPs")
    found = minimize_scalar(cost, bounds=(grid[best - 1], grid[best + 1]), method="bounded", options={"xatol": 1e-10})
    params = float(np.exp(found.x))
    return Optimum(flops, params, flops / 6 / params, float(found.fun))
