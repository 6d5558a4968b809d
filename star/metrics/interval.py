"""Confidence intervals of ratios of sums over documents."""

import numpy as np
from scipy.stats import bootstrap

RESAMPLES = 2_000
LEVEL = 0.95
SEED = 20_261_130
HELD = 1 << 22  # indices that are drawn at once, at most


def ratio_interval(numerators: np.ndarray, denominators: np.ndarray) -> tuple[float, float] | None:
    """Return the 95 % interval of sum(numerators) / sum(denominators) over documents; None for fewer than two.

    Documents are drawn with replacement, 2,000 times with a fixed seed, and the interval is between the percentiles 2.5
    and 97.5 of the ratios (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13).
    """
    if numerators.size < 2:
        return None
    found = bootstrap(
        (numerators, denominators),
        lambda x, y, axis: x.sum(axis=axis) / y.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, HELD // numerators.size),
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return float(found.low), float(found.high)
