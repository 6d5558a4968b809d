"""What a handful of seeds says about a searcher, and about two of them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

RESAMPLES = 4_000
LEVEL = 0.95

Statistic = Callable[..., np.ndarray]


class Interval(NamedTuple):
    """An estimate between the ends of its interval."""

    low: float
    value: float
    high: float

    def text(self, digits: int = 3) -> str:
        """As a cell of a table."""
        return f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def bootstrap(statistic: Statistic, *samples: np.ndarray, seed: int = 0) -> Interval:
    """The percentile bootstrap interval (Efron 1979) of a statistic of independent samples, each resampled on its own.

    `statistic` is given arrays (..., N_i) and gives one value for each of the leading places.
    """
    rng = np.random.default_rng(seed)
    drawn = [sample[rng.integers(len(sample), size=(RESAMPLES, len(sample)))] for sample in samples]
    low, high = np.quantile(statistic(*drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(statistic(*samples)), float(high))


def median(sample: np.ndarray) -> np.ndarray:
    """Of the last axis."""
    return np.median(sample, axis=-1)


def median_difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Between the medians of two samples."""
    return median(one) - median(other)


def superiority(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The probability that a draw from the one is greater than a draw from the other, ties counted half: the A of
    Vargha & Delaney (2000)."""
    difference = one[..., :, None] - other[..., None, :]
    return ((difference > 0) + 0.5 * (difference == 0)).mean(axis=(-2, -1))
