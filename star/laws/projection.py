"""Variable projection for E + A / N^alpha + B / D^beta: a search over the two exponents alone.

For fixed exponents the loss is linear in E, A and B, which follow by non-negative least squares (Golub and Pereyra
1973, The differentiation of pseudo-inverses and nonlinear least squares problems whose variables separate).
"""

from itertools import combinations

import numpy as np
from scipy.optimize import minimize, nnls

from star.laws.chinchilla import Chinchilla
from star.laws.runs import Runs

GRID = np.array([*np.arange(0.04, 0.6, 0.04), 0.7, 0.85, 1.05, 1.4])  # exponents
LIFTED = 0.01  # of the mean loss, the least that a term has where a search begins
CHUNK = 64  # samples that are projected together
SUBSETS = [np.array(one) for size in (1, 2, 3) for one in combinations(range(3), size)]


def project(runs: Runs, exponents: np.ndarray, relative: bool) -> tuple[np.ndarray, float]:
    """Return (E, A, B) that fit best at (alpha, beta), none negative, and the sum of squared residuals.

    Args:
        relative: whether residuals are fractions of the loss, which are log residuals to first order.
    """
    alpha, beta = exponents
    centres = np.exp(np.log(runs.params).mean()), np.exp(np.log(runs.tokens).mean())
    columns = [np.ones(len(runs)), (runs.params / centres[0]) ** -alpha, (runs.tokens / centres[1]) ** -beta]
    weight = 1 / runs.loss if relative else np.ones(len(runs))
    coefficients, norm = nnls(np.stack(columns, axis=1) * weight[:, None], runs.loss * weight)
    return coefficients * np.array([1, centres[0] ** alpha, centres[1] ** beta]), norm**2


def fit_projected(runs: Runs, relative: bool = True, tied: bool = False) -> Chinchilla:
    """Return the law of least squares: a grid of exponents, then a local search over them.

    Args:
        relative: whether residuals are fractions of the loss.
        tied: whether alpha = beta.
    """
    start = grid_starts(runs, np.ones((1, len(runs))), tied)[0, 3:]

    def cost(x: np.ndarray) -> float:
        return project(runs, np.broadcast_to(np.abs(x), 2), relative)[1]

    x = start[:1] if tied else start
    for _ in range(2):  # restarted, because a simplex may collapse before it is at the minimum
        options = {"xatol": 1e-9, "fatol": 1e-13 * cost(x), "maxiter": 500}
        x = minimize(cost, x, method="Nelder-Mead", options=options).x
    exponents = np.broadcast_to(np.abs(x), 2)
    coefficients = project(runs, exponents, relative)[0]
    return Chinchilla(*map(float, coefficients), *map(float, exponents))


def lift(constants: np.ndarray, runs: Runs) -> np.ndarray:
    """Return (E, A, B, alpha, beta), of shape [samples, 5], with every term at least a hundredth of the mean loss,
    because no search over logarithms leaves a term of 0."""
    least = LIFTED * runs.loss.mean()
    of_params = np.exp(np.outer(constants[:, 3], np.log(runs.params))).mean(axis=1)
    of_tokens = np.exp(np.outer(constants[:, 4], np.log(runs.tokens))).mean(axis=1)
    floor = np.stack([np.full(len(constants), least), least * of_params, least * of_tokens], axis=1)
    return np.concatenate([np.maximum(constants[:, :3], floor), constants[:, 3:]], axis=1)


def grid_starts(runs: Runs, counts: np.ndarray, tied: bool = False) -> np.ndarray:
    """Return (E, A, B, alpha, beta) of the best point of the grid for each sample, by relative residuals.

    Args:
        counts: how often each sample holds each run, of shape [samples, runs].
        tied: whether alpha = beta.

    Returns:
        of shape [samples, 5].
    """
    return np.concatenate([_grid(runs, counts[i : i + CHUNK], tied) for i in range(0, len(counts), CHUNK)])


def _grid(runs: Runs, counts: np.ndarray, tied: bool) -> np.ndarray:
    centres = np.log(runs.params).mean(), np.log(runs.tokens).mean()
    constant = 1 / runs.loss
    of_params = np.exp(-np.outer(GRID, np.log(runs.params) - centres[0])) * constant
    of_tokens = np.exp(-np.outer(GRID, np.log(runs.tokens) - centres[1])) * constant
    first, second = (axis.ravel() for axis in np.indices((len(GRID), len(GRID))))
    if tied:
        first = second = np.arange(len(GRID))
    gram = np.empty((len(counts), len(first), 3, 3))
    right = np.empty((len(counts), len(first), 3))
    gram[:, :, 0, 0] = (counts @ constant**2)[:, None]
    right[:, :, 0] = (counts @ constant)[:, None]
    for column, basis, which in ((1, of_params, first), (2, of_tokens, second)):
        gram[:, :, 0, column] = gram[:, :, column, 0] = (counts @ (basis * constant).T)[:, which]
        gram[:, :, column, column] = (counts @ (basis**2).T)[:, which]
        right[:, :, column] = (counts @ basis.T)[:, which]
    gram[:, :, 1, 2] = gram[:, :, 2, 1] = counts @ (of_params[first] * of_tokens[second]).T
    solution, gain = _non_negative(gram, right)
    best = gain.argmax(axis=1)  # the largest decrease of the squared residuals
    rows = np.arange(len(counts))
    alpha, beta = GRID[first[best]], GRID[second[best]]
    scales = np.stack([np.ones_like(alpha), np.exp(alpha * centres[0]), np.exp(beta * centres[1])], axis=1)
    return np.concatenate([solution[rows, best] * scales, alpha[:, None], beta[:, None]], axis=1)


def _non_negative(gram: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solve least squares in three unknowns, none negative, by trying all sets of positive ones.

    Returns:
        solutions of shape [..., 3], and how much each lowers the sum of squares.
    """
    best, gain = np.zeros_like(right), np.zeros(right.shape[:-1])
    for chosen in SUBSETS:
        part = gram[..., chosen[:, None], chosen]
        ridge = 1e-13 * np.trace(part, axis1=-2, axis2=-1)[..., None, None] * np.eye(len(chosen))
        solution = np.linalg.solve(part + ridge, right[..., chosen, None])[..., 0]
        lowered = np.where((solution >= 0).all(axis=-1), (solution * right[..., chosen]).sum(axis=-1), -np.inf)
        better = lowered > gain
        gain = np.where(better, lowered, gain)
        full = np.zeros_like(right)
        full[..., chosen] = solution
        best = np.where(better[..., None], full, best)
    return best, gain
