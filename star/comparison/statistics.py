"""Differences between architectures that were trained from the same seeds, with corrected tests.

The differences d of the bits per byte of two architectures by seed give the mean m, the interval m +- t s / sqrt(n)
with the standard deviation s and the 97.5 % quantile t of Student's distribution with n - 1 degrees of freedom, and the
two-sided p of the paired t-test. The p of several tests are corrected by Holm's method (Holm 1979, A simple
sequentially rejective multiple test procedure): the k-th smallest of m times m - k + 1, at least as large as those
before it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student
from scipy.stats import ttest_rel

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and the half of its 95 % interval; NaN of one value."""

    mean: float
    half: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The bits per byte of one architecture less those of another, by their names.

    Attributes:
        difference: its mean over seeds, with the interval.
        p: of the paired test, corrected for all tests; NaN if there is one seed.
    """

    one: str
    other: str
    difference: Mean
    p: float

    @property
    def better(self) -> str:
        """The name of the better one; empty if no difference is shown."""
        if not self.p < 1 - LEVEL:
            return ""
        return self.one if self.difference.mean < 0 else self.other


def mean(values: Sequence[float]) -> Mean:
    """Return the mean of values with its interval."""
    if len(values) < 2:
        return Mean(float(np.mean(values)), math.nan)
    quantile = float(student.ppf((1 + LEVEL) / 2, len(values) - 1))
    return Mean(float(np.mean(values)), quantile * float(np.std(values, ddof=1)) / math.sqrt(len(values)))


def paired_p(some: Sequence[float], others: Sequence[float]) -> float:
    """Return the two-sided p of the paired t-test; NaN of one pair, and 1 of pairs that are all equal."""
    if len(some) < 2:
        return math.nan
    differences = np.subtract(some, others)
    if not differences.std():  # the test divides by it
        return 1.0 if not differences.any() else 0.0
    return float(ttest_rel(some, others).pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values corrected for the number of tests; NaN is no test."""
    order = sorted((value, place) for place, value in enumerate(values) if not math.isnan(value))
    found, largest = [math.nan] * len(values), 0.0
    for k, (value, place) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - k) * value))
        found[place] = largest
    return found
