"""Fit sums of power terms under the Huber loss of the log loss, many weighted samples at a time.

Most scaling laws are sums of terms, each a product of powers: in the vector x of the logarithms of coefficients, and of
exponents, the log of term k at run i is linear, f_ki x. So the predicted log loss is a log-sum-exp of linear
functions, whose gradient and Hessian are short formulas (the parametrisation of Hoffmann et al. 2022,
arXiv:2203.15556, Approach 3).
"""

from typing import NamedTuple

import numpy as np

DELTA = 1e-3  # of the Huber loss, in log loss (Hoffmann et al. 2022)
MAX_STEPS = 400
CHUNK = 256  # samples that are minimised together: their arrays stay in the cache


class Problem(NamedTuple):
    """A sum of power terms to fit.

    Attributes:
        features: f, of shape [terms, runs, unknowns].
        target: log loss, of shape [runs].
        delta: where the Huber loss turns from quadratic to linear.
    """

    features: np.ndarray
    target: np.ndarray
    delta: float = DELTA


def predict(problem: Problem, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log predictions of shape [samples, runs] at x of shape [samples, unknowns], and the share of each term in
    the prediction, of shape [terms, samples, runs]."""
    logs = np.stack([x @ one.T for one in problem.features])
    most = logs.max(axis=0)
    shares = np.exp(logs - most)
    total = shares.sum(axis=0)
    return most + np.log(total), shares / total


def huber(residual: np.ndarray, delta: float = DELTA) -> np.ndarray:
    """Return r^2 / 2 up to |r| = delta, and delta (|r| - delta / 2) beyond."""
    inside = np.minimum(np.abs(residual), delta)
    return inside * (np.abs(residual) - inside / 2)


def objective(problem: Problem, x: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the sum of Huber losses over runs for each sample, of shape [samples].

    Args:
        x: of shape [samples, unknowns].
        counts: how often each sample holds each run, of shape [samples, runs].
    """
    return (counts * huber(predict(problem, x)[0] - problem.target, problem.delta)).sum(axis=1)


def whiten(features: np.ndarray) -> np.ndarray:
    """Return the matrix W, of shape [unknowns, unknowns], that makes the columns of the features of all terms, times W,
    orthonormal: x = W y with unknowns y of comparable effect."""
    return np.linalg.inv(np.linalg.qr(np.concatenate(list(features)), mode="r"))


def minimise(problem: Problem, counts: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minimise the Huber loss of every sample from its start by damped Newton steps.

    Steps are accepted where they lower the sum, so the result is no worse than the start. The tolerance is relative to
    the objective, which is near 1e-3: solvers with an absolute tolerance stop early on it.

    Returns:
        x of shape [samples, unknowns] and the objective of shape [samples].
    """
    scale = whiten(problem.features)
    scaled = problem._replace(features=problem.features @ scale)
    inverse = np.linalg.inv(scale)
    pieces = [
        _minimise(scaled, counts[i : i + CHUNK], start[i : i + CHUNK] @ inverse.T) for i in range(0, len(start), CHUNK)
    ]
    return np.concatenate([x for x, _ in pieces]) @ scale.T, np.concatenate([value for _, value in pieces])


def _minimise(problem: Problem, counts: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, damping = start.copy(), np.full(len(start), 1e-3)
    value = objective(problem, x, counts)
    todo = np.arange(len(start))
    calm = np.zeros(len(start), dtype=int)  # accepted steps in succession that changed next to nothing
    for _ in range(MAX_STEPS):
        if not todo.size:
            break
        step = _newton_step(problem, x[todo], counts[todo], damping[todo])
        tried = objective(problem, x[todo] + step, counts[todo])
        better = tried < value[todo]
        moved = todo[better]
        calm[todo] = np.where(better & (value[todo] - tried > 1e-10 * value[todo]), 0, calm[todo] + 1)
        x[moved] += step[better]
        value[moved] = tried[better]
        damping[todo] = np.where(better, np.maximum(damping[todo] / 6, 1e-12), damping[todo] * 10)
        # A sample is done when steps no longer help, whether they are long or heavily damped.
        todo = todo[(calm[todo] < 8) & (value[todo] > 0)]
    return x, value


def _newton_step(problem: Problem, x: np.ndarray, counts: np.ndarray, damping: np.ndarray) -> np.ndarray:
    features, delta = problem.features, problem.delta
    log_loss, shares = predict(problem, x)
    residual = log_loss - problem.target
    slope = counts * np.clip(residual, -delta, delta)
    size = x.shape[1]
    jacobian, hessian = np.zeros((*residual.shape, size)), np.zeros((len(x), size * size))
    for share, one in zip(shares, features, strict=True):  # d2 log-sum-exp = sum_k share_k f_k f_k' - J J'
        jacobian += share[:, :, None] * one
        hessian += (slope * share) @ (one[:, :, None] * one[:, None, :]).reshape(len(one), -1)
    curved = counts * (np.abs(residual) < delta) - slope
    hessian = hessian.reshape(-1, size, size) + np.swapaxes(jacobian * curved[:, :, None], 1, 2) @ jacobian
    # The curvature of the quadratics that bound the Huber loss from above: positive, and of the right scale.
    bound = counts * np.minimum(1, delta / np.maximum(np.abs(residual), 1e-300))
    hessian[:, range(size), range(size)] += damping[:, None] * (bound[:, :, None] * jacobian**2).sum(axis=1) + 1e-18
    gradient = (slope[:, :, None] * jacobian).sum(axis=1)
    return -np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
