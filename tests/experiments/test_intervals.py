"""The intervals of the comparison of searchers: they cover, and are those of a naive bootstrap."""

import sys

import numpy as np
import pytest
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "experiments" / "benchmarks"))  # as Python does for scripts that stand there

from comparing.intervals import bootstrap, median, median_difference, superiority  # noqa: E402


def test_the_interval_of_a_median_covers_it_as_often_as_it_says():
    """20 normal draws, 150 times: 95 % of the intervals hold 0, within the error of that count."""
    rng = np.random.default_rng(1)
    covered = [low <= 0 <= high for low, _, high in (bootstrap(median, rng.normal(size=20)) for _ in range(150))]
    assert 0.90 <= np.mean(covered) <= 0.99


def test_the_interval_is_the_percentiles_of_resampled_statistics():
    """Beside a loop over resamples, each sample drawn on its own; 0.12 is four standard errors of a quantile."""
    rng = np.random.default_rng(2)
    one, other = rng.normal(1, 1, 15), rng.normal(0, 2, 11)
    found = bootstrap(lambda one, other, axis: one.mean(axis) - other.mean(axis), one, other)
    draws = [rng.choice(one, 15).mean() - rng.choice(other, 11).mean() for _ in range(20_000)]
    assert [found.low, found.high] == pytest.approx(np.quantile(draws, [0.025, 0.975]).tolist(), abs=0.12)
    assert found.value == one.mean() - other.mean()
    assert bootstrap(median_difference, one, other).value == np.median(one) - np.median(other)
    assert bootstrap(median, np.array([2.0])) == (2, 2, 2), "a single seed has no spread"
    assert bootstrap(median, np.ones(5)) == (1, 1, 1)


def test_superiority_is_the_share_of_pairs():
    rng = np.random.default_rng(3)
    one, other = rng.integers(0, 5, 12), rng.integers(0, 5, 9)
    pairs = [(a > b) + 0.5 * (a == b) for a in one for b in other]
    assert superiority(one, other) == pytest.approx(np.mean(pairs))
    assert superiority(np.ones(3), np.zeros(4)) == 1 and superiority(np.ones(3), np.ones(4)) == 0.5
