"""How well scores order architectures: agreement with a reference."""

import numpy as np
from comparing.intervals import Interval, bootstrap
from scipy.stats import rankdata

from star.search.front import front_mask, hypervolume, reference_box

TINY = 1e-12


def kendall(scores: np.ndarray, truth: np.ndarray, pairs: np.ndarray | None = None) -> Interval:
    """Return Kendall's tau of scores (N,) with the truth (N,), over all pairs or those of a mask (N, N), and its
    interval over resampled architectures: the share of pairs in the same order minus the share in the other.
    """
    return _mean_over_pairs(_agreement(scores, truth), pairs)


def kendall_gain(
    scores: np.ndarray, others: np.ndarray, truth: np.ndarray, pairs: np.ndarray | None = None
) -> Interval:
    """Return how far Kendall's tau of scores (N,) with the truth (N,) is above that of other scores (N,), over all
    pairs or those of a mask (N, N), and the interval of this difference over resampled architectures.
    """
    return _mean_over_pairs(_agreement(scores, truth) - _agreement(others, truth), pairs)


def _agreement(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.sign(np.subtract.outer(scores, scores)) * np.sign(np.subtract.outer(truth, truth))


def _mean_over_pairs(values: np.ndarray, pairs: np.ndarray | None) -> Interval:
    counted = ~np.eye(len(values), dtype=bool) if pairs is None else pairs & ~np.eye(len(values), dtype=bool)
    values = (values * counted).astype(np.int8)

    def statistic(places: np.ndarray, axis: int = -1) -> np.ndarray:
        chosen = (places[..., :, None], places[..., None, :])
        return values[chosen].sum(axis=(-1, -2)) / np.maximum(1, counted[chosen].sum(axis=(-1, -2)))

    return bootstrap(statistic, np.arange(len(values)))


def spearman(scores: np.ndarray, truth: np.ndarray) -> Interval:
    """Return Spearman's rank correlation and its interval over resampled architectures."""

    def statistic(places: np.ndarray, axis: int = -1) -> np.ndarray:
        a, b = (rankdata(values[places], axis=-1) for values in (scores, truth))
        a, b = (one - one.mean(axis=-1, keepdims=True) for one in (a, b))
        spread = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
        return (a * b).sum(axis=-1) / np.maximum(spread, TINY)  # 0 where a resample holds one architecture alone

    return bootstrap(statistic, np.arange(len(truth)))


def front_share(scores: np.ndarray, truth: np.ndarray, costs: np.ndarray) -> float:
    """Return the hypervolume that one gets of the reference front's by taking the front of (scores, costs): its members
    count with the truth. `costs` is (N, C).
    """
    true, chosen = np.column_stack([truth, costs]), front_mask(np.column_stack([scores, costs]))
    box = reference_box(true)
    return hypervolume(true[chosen], box) / hypervolume(true, box)
