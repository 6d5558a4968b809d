"""A Gaussian process that predicts the quality of genomes outside the recorded table.

With features x in blocks b (`features`), outputs y standardised, and Matern covariances m(r) = (1 + r) exp(-r),

    k(x, x') = sum_b  a_b m(|x_b - x'_b| / l_b),        y ~ N(0, K + s I),
    prediction  k(x, X) (K + s I)^-1 y                  (Rasmussen & Williams 2006, equations 2.23 and 2.30),

where a, l and s maximise the likelihood of a subset of rows. The prediction is the mean without noise, so that it is a
function of the genome. `regressors` measures other regressors on the same folds.

It uses torch for gradients and because torch respects a limit of one thread: two BLAS threads that share their cores
with other work take ten times as long.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize

SUBSET = 200  # rows whose likelihood is maximised
JITTER = 1e-6
BOUNDS = {"amplitude": (-9.0, 3.0), "length": (-2.0, 5.0), "noise": (-7.0, 1.0)}  # of their logarithms


@dataclass(frozen=True, slots=True)
class Scales:
    """Amplitude and length of each block, and the variance of the noise, as shares of the output's variance."""

    amplitudes: torch.Tensor
    lengths: torch.Tensor
    noise: torch.Tensor


class Process:
    """A Gaussian process over rows X (N, features) with outputs Y (N, outputs), each with scales of its own."""

    def __init__(self, X: np.ndarray, Y: np.ndarray, blocks: tuple[slice, ...], seed: int = 0) -> None:
        self._blocks = blocks
        spread = X.std(axis=0)
        self._unit = np.where(spread > 0, spread, 1.0)
        self._X = torch.from_numpy(X / self._unit)
        self._mean, self._deviation = Y.mean(axis=0), Y.std(axis=0)
        outputs = torch.from_numpy(((Y - self._mean) / self._deviation).T)
        some = torch.from_numpy(np.random.default_rng(seed).permutation(len(X))[:SUBSET])
        distances = self._distances(self._X)
        self.scales = [_fit(distances[:, some][:, :, some], output[some]) for output in outputs]
        self._weights = [
            torch.cholesky_solve(output[:, None], _factor(distances, scales))
            for scales, output in zip(self.scales, outputs, strict=True)
        ]

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the means (M, outputs) at rows (M, features)."""
        distances = self._distances(torch.from_numpy(X / self._unit))
        columns = [
            _covariance(distances, scales) @ weights for scales, weights in zip(self.scales, self._weights, strict=True)
        ]
        return torch.cat(columns, dim=1).numpy() * self._deviation + self._mean

    def _distances(self, X: torch.Tensor) -> torch.Tensor:
        """Return Euclidean distances (blocks, M, N), each divided by the root of the number of columns."""
        pairs = [(X[:, block], self._X[:, block]) for block in self._blocks]
        return torch.stack([torch.cdist(one, other) / one.shape[1] ** 0.5 for one, other in pairs])


def _covariance(distances: torch.Tensor, scales: Scales) -> torch.Tensor:
    reach = distances / scales.lengths[:, None, None]
    return (scales.amplitudes[:, None, None] * (1 + reach) * torch.exp(-reach)).sum(dim=0)


def _factor(distances: torch.Tensor, scales: Scales) -> torch.Tensor:
    """Return the Cholesky factor of K + s I."""
    noise = (scales.noise + JITTER) * torch.eye(distances.shape[1], dtype=distances.dtype)
    return torch.linalg.cholesky(_covariance(distances, scales) + noise)


def _fit(distances: torch.Tensor, output: torch.Tensor) -> Scales:
    """Return the scales that maximise the likelihood, found from one start."""
    blocks = len(distances)

    def unpack(logarithms: torch.Tensor) -> Scales:
        values = logarithms.exp()
        return Scales(values[:blocks], values[blocks:-1], values[-1])

    def surprise(logarithms: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the negative log-likelihood per row, without its constant, and its gradient."""
        point = torch.tensor(logarithms, requires_grad=True)
        factor = _factor(distances, unpack(point))
        weights = torch.cholesky_solve(output[:, None], factor)[:, 0]
        value = (output @ weights / 2 + factor.diagonal().log().sum()) / len(output)
        value.backward()
        return value.item(), point.grad.numpy()

    start = np.log([1 / blocks] * blocks + [3.0] * blocks + [0.3])
    bounds = [BOUNDS["amplitude"]] * blocks + [BOUNDS["length"]] * blocks + [BOUNDS["noise"]]
    found = minimize(surprise, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40})
    return unpack(torch.from_numpy(found.x))
