"""A quality for genomes that nobody trained: a Gaussian process fitted to those that somebody did.

With features x in blocks b (`features`), outputs y standardised, and Matern covariances m(r) = (1 + r) exp(-r),

    k(x, x') = sum_b  a_b m(|x_b - x'_b| / l_b),        y ~ N(0, K + s I),
    prediction  k(x, X) (K + s I)^-1 y                  (Rasmussen & Williams 2006, equations 2.23 and 2.30),

a, l and s where the likelihood of some rows is greatest. The prediction is the mean and nothing is added to it, so
that it is a function of the genome. `regressors` measures others on the same folds.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

SUBSET = 200  # rows whose likelihood decides on the scales
JITTER = 1e-6


@dataclass(frozen=True, slots=True)
class Scales:
    """Amplitude and length of each block, and the variance of the noise, as shares of the output's variance."""

    amplitudes: np.ndarray
    lengths: np.ndarray
    noise: float


class Process:
    """A Gaussian process over rows X (N, features) with outputs Y (N, outputs), each with scales of its own."""

    def __init__(self, X: np.ndarray, Y: np.ndarray, blocks: tuple[slice, ...], seed: int = 0) -> None:
        self._blocks = blocks
        spread = X.std(axis=0)
        self._unit = np.where(spread > 0, spread, 1.0)
        self._X = X / self._unit
        self._mean, self._deviation = Y.mean(axis=0), Y.std(axis=0)
        outputs = ((Y - self._mean) / self._deviation).T
        some = np.random.default_rng(seed).permutation(len(X))[:SUBSET]
        distances = self._distances(self._X)
        self.scales = [_fit(distances[:, some][:, :, some], output[some]) for output in outputs]
        self._weights = [
            cho_solve(_factor(distances, scales)[0], output)
            for scales, output in zip(self.scales, outputs, strict=True)
        ]

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Means (M, outputs) at rows (M, features)."""
        distances = self._distances(X / self._unit)
        columns = [
            np.einsum("bmn,b->mn", _terms(distances, scales)[0], scales.amplitudes) @ weights
            for scales, weights in zip(self.scales, self._weights, strict=True)
        ]
        return np.stack(columns, axis=1) * self._deviation + self._mean

    def _distances(self, X: np.ndarray) -> np.ndarray:
        """Of shape (blocks, M, N): Euclidean, divided by the root of the number of columns."""
        return np.stack([_distances(X[:, block], self._X[:, block]) for block in self._blocks])


def _distances(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    squares = (A**2).sum(axis=1)[:, None] + (B**2).sum(axis=1)[None] - 2 * A @ B.T
    return np.sqrt(np.maximum(squares, 0) / A.shape[1])


def _terms(distances: np.ndarray, scales: Scales) -> tuple[np.ndarray, np.ndarray]:
    """m of each block, and its derivative by the logarithm of the length."""
    reach = distances / scales.lengths[:, None, None]
    decay = np.exp(-reach)
    return (1 + reach) * decay, reach**2 * decay


def _factor(distances: np.ndarray, scales: Scales) -> tuple[tuple[np.ndarray, bool], np.ndarray, np.ndarray]:
    """The Cholesky factor of K + s I, and the terms."""
    terms, slopes = _terms(distances, scales)
    covariance = np.einsum("bmn,b->mn", terms, scales.amplitudes)
    covariance[np.diag_indices_from(covariance)] += scales.noise + JITTER
    return cho_factor(covariance, lower=True), terms, slopes


def _fit(distances: np.ndarray, output: np.ndarray) -> Scales:
    """The scales of greatest likelihood that are found from one start."""
    blocks, rows = len(distances), len(output)

    def unpack(logarithms: np.ndarray) -> Scales:
        values = np.exp(logarithms)
        return Scales(values[:blocks], values[blocks:-1], float(values[-1]))

    def surprise(logarithms: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus the logarithm of the likelihood for each row, and its gradient."""
        scales = unpack(logarithms)
        factor, terms, slopes = _factor(distances, scales)
        weights = cho_solve(factor, output)
        inner = (cho_solve(factor, np.eye(rows)) - np.outer(weights, weights)) / 2
        by_amplitude, by_length = (np.einsum("bmn,mn->b", one, inner) * scales.amplitudes for one in (terms, slopes))
        value = output @ weights / 2 + np.log(np.diag(factor[0])).sum()
        return value / rows, np.array([*by_amplitude, *by_length, scales.noise * np.trace(inner)]) / rows

    start = np.log([1 / blocks] * blocks + [3.0] * blocks + [0.3])
    bounds = [(-9, 3)] * blocks + [(-2, 5)] * blocks + [(-7, 1)]
    return unpack(minimize(surprise, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40}).x)
