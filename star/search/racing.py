"""Which candidates of a race go on at a rung: successive halving with several objectives.

Successive halving (Jamieson & Talwalkar 2015, arXiv:1502.07943) keeps the best share at each rung by one number. Here a
candidate has several, all but the quality known exactly, and it stops only where it is clearly dominated: where another
is no worse in any exact objective and its quality at the same rung is better by more places than a short training
may err.
"""

import numpy as np
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

MARGIN = 0.1  # of all ranks at a rung: how much better the quality of a clearly better one is


def promoted(candidates: np.ndarray, rivals: np.ndarray, quality: int, eta: int) -> np.ndarray:
    """Return which rows of `candidates` (N, objectives) are promoted beyond a rung, one in `eta` of them at least.

    All values are minimised and belong to the same rung; column `quality` is compared by rank only. `rivals` (M,
    objectives) passed the rung before; they stop others but are not judged.
    """
    if not len(candidates):
        return np.zeros(0, dtype=bool)
    everyone = np.vstack([candidates, rivals.reshape(-1, candidates.shape[1])])
    ranks = everyone[:, quality].argsort(kind="stable").argsort(kind="stable")
    exact = np.delete(everyone, quality, axis=1)
    no_worse = (exact[None, :, :] <= exact[: len(candidates), None, :]).all(axis=2)
    # In whole places, so that a difference of just the margin never counts, wherever it lies.
    clearly_better = ranks[: len(candidates), None] - ranks[None, :] > MARGIN * len(everyone)
    stays = ~(no_worse & clearly_better).any(axis=1)
    missing = -(-len(candidates) // eta) - int(stays.sum())
    if missing > 0:
        layers = NonDominatedSorting().do(everyone, return_rank=True)[1][: len(candidates)]
        order = np.lexsort((ranks[: len(candidates)], layers, stays))  # those that stop first, best layers first
        stays[order[:missing]] = True
    return stays


def best_share(candidates: np.ndarray, rivals: np.ndarray, divisor: int, least: int = 1) -> np.ndarray:
    """Return which rows of `candidates` (N, objectives) are the best ones, one in `divisor` of them, rounded up, and at
    least `least`: by non-dominated layers, and of the layer that is split those that are least crowded, as NSGA-II
    selects.

    All values are minimised. `rivals` (M, objectives) take part in layers and crowding, but are not selected.
    """
    everyone = np.vstack([candidates, rivals.reshape(-1, candidates.shape[1])])
    layers = NonDominatedSorting().do(everyone, return_rank=True)[1]
    crowding = np.zeros(len(everyone))
    for layer in range(layers.max() + 1):
        crowding[layers == layer] = calc_crowding_distance(everyone[layers == layer])
    own = len(candidates)
    stays = np.zeros(own, dtype=bool)
    stays[np.lexsort((-crowding[:own], layers[:own]))[: max(least, -(-own // divisor))]] = True
    return stays
