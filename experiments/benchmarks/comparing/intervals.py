"""Bootstrap intervals of statistics over a few seeds."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

RESAMPLES = 4_000
LEVEL = 0.95

Statistic = Callable[..., np.ndarray]


class Interval(NamedTuple):
    """An estimate and the ends of its confidence interval."""

    low: float
    value: float
    high: float

    def text(self, digits: int = 3) -> str:
        """Return the interval as a cell of a table."""
        return f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def bootstrap(statistic: Statistic, *samples: np.ndarray) -> Interval:
    """Return the percentile bootstrap interval of a statistic of independent samples, each resampled on its own.

    `statistic` takes arrays (..., N_i) and `axis`, and reduces the last axis. With a single observation in a sample the
    interval has no width.
    """
    value = float(statistic(*samples, axis=-1))
    if min(map(len, samples)) < 2:
        return Interval(value, value, value)
    settings = {"n_resamples": RESAMPLES, "confidence_level": LEVEL, "method": "percentile"}
    low, high = stats.bootstrap(samples, statistic, rng=np.random.default_rng(0), **settings).confidence_interval
    return Interval(float(low), value, float(high))


def median(sample: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the median along an axis."""
    return np.median(sample, axis=axis)


def median_difference(one: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the difference between the medians of two samples."""
    return median(one, axis) - median(other, axis)


def superiority(one: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the probability that a draw from `one` exceeds a draw from `other`, ties counted half: the A of Vargha and
    Delaney (2000)."""
    difference = np.expand_dims(one, -1) - np.expand_dims(other, -2)
    return ((difference > 0) + 0.5 * (difference == 0)).mean(axis=(-2, -1))
