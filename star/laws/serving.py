"""The cheapest model of a given loss when its inference counts too (Sardana et al. 2024, arXiv:2401.00448)."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from star.errors import UserError
from star.laws.optimum import LARGEST, SMALLEST, Loss

FEWEST_TOKENS, MOST_TOKENS = np.log(1e3), np.log(1e18)


class Served(NamedTuple):
    """N and D with the fewest FLOPs 6 N D + 2 N D_inference at a loss."""

    params: float
    tokens: float
    loss: float
    training_flops: float
    inference_flops: float

    @property
    def flops(self) -> float:
        """All FLOPs."""
        return self.training_flops + self.inference_flops


def find_served_optimum(loss: Loss, target: float, inference_tokens: float) -> Served:
    """Return the model of a loss that takes the fewest FLOPs for training and inference together.

    Args:
        loss: of N and D, falling in both.
        target: the loss, in nats per token.
        inference_tokens: tokens that the model will read and write in its life.

    Raises:
        UserError: no size reaches the loss.
    """

    def cost(log_params: float) -> float:
        params = float(np.exp(log_params))
        return params * (6 * _tokens_for(loss, target, params) + 2 * inference_tokens)

    grid = np.linspace(SMALLEST, LARGEST, 600)
    costs = np.array([cost(one) for one in grid])
    best = int(costs.argmin())
    if not np.isfinite(costs[best]) or best in (0, len(grid) - 1):
        raise UserError(f"no model reaches a loss of {target:.4g} nats by this law")
    # Sizes that are too small for the loss cost infinitely much; the search needs numbers.
    found = minimize_scalar(
        lambda x: min(np.log(cost(x)), 1e3),
        bounds=(grid[best - 1], grid[best + 1]),
        method="bounded",
        options={"xatol": 1e-10},
    )
    params = float(np.exp(found.x))
    tokens = _tokens_for(loss, target, params)
    return Served(params, tokens, float(loss(params, tokens)), 6 * params * tokens, 2 * params * inference_tokens)


def _tokens_for(loss: Loss, target: float, params: float) -> float:
    """Return the D at which N parameters reach a loss, by bisection of log D; infinity if none does."""
    low, high = FEWEST_TOKENS, MOST_TOKENS
    if loss(params, float(np.exp(high))) > target:
        return float("inf")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if loss(params, float(np.exp(middle))) > target else (low, middle)
    return float(np.exp(high))
