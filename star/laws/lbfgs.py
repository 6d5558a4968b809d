"""The estimator of Hoffmann et al. 2022 (arXiv:2203.15556, Approach 3): L-BFGS from 4,500 starts."""

from itertools import product

import numpy as np
from scipy.optimize import minimize

from star.laws.chinchilla import Chinchilla
from star.laws.runs import Runs
from star.laws.sums import Problem, huber, predict

LOG_E = (-1.0, -0.5, 0.0, 0.5, 1.0)
LOG_COEFFICIENT = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)
EXPONENT = (0.0, 0.5, 1.0, 1.5, 2.0)
# The sum of Huber losses is near 1e-3. L-BFGS stops at absolute tolerances, and would stop early: the published
# constants of 2022 come from a mean of them (Besiroglu et al. 2024, arXiv:2404.10102).
SCALE = 1e3


def starts() -> np.ndarray:
    """Return the 4,500 starts, (log E, log A, log B, alpha, beta), of shape [4500, 5]."""
    return np.array(list(product(LOG_E, LOG_COEFFICIENT, LOG_COEFFICIENT, EXPONENT, EXPONENT)))


def fit_lbfgs(runs: Runs, every: int = 1) -> Chinchilla:
    """Return the law with the least Huber loss over all starts, or over every n-th of them."""
    problem = Problem(Chinchilla.features(runs), np.log(runs.loss))

    def cost(x: np.ndarray) -> tuple[float, np.ndarray]:
        log_loss, shares = predict(problem, x[None, :])
        residual = log_loss[0] - problem.target
        slope = np.clip(residual, -problem.delta, problem.delta)
        gradient = np.einsum("i,ki,kip->p", slope, shares[:, 0], problem.features)
        return SCALE * float(huber(residual, problem.delta).sum()), SCALE * gradient

    options = {"maxiter": 2000, "ftol": 1e-12, "gtol": 1e-9}
    found = [minimize(cost, x, jac=True, method="L-BFGS-B", options=options) for x in starts()[::every]]
    return Chinchilla.from_vector(min(found, key=lambda one: one.fun).x)
