"""Which candidates of a race go on at a rung: successive halving with several objectives.

Successive halving (Jamieson & Talwalkar 2015, arXiv:1502.07943) keeps the best share at each rung by one number. Here a
candidate has several, all but the quality known exactly, and it stops only where it is clearly dominated: where another
is no worse in any exact objective and its quality at the same rung is better by more places than a short training
may err.
"""

from heapq import heapify, heappop, heappush

import numpy as np
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from star.search.front import hypervolume, reference_box

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
    least `least`: one after another the candidate that adds most hypervolume to the rivals and to those before it, as
    in SMS-EGO (Ponweiser et al. 2008, doi:10.1007/978-3-540-87700-4_78). Those that add none come last, by
    non-dominated layers.

    All values are minimised. `rivals` (M, objectives) are what is known already.
    """
    rivals = rivals.reshape(-1, candidates.shape[1])
    everyone = np.vstack([candidates, rivals])
    layers = NonDominatedSorting().do(everyone, return_rank=True)[1]
    box = reference_box(everyone[layers == 0])

    def gain(row: int, points: np.ndarray, volume: float) -> float:
        # Rounded, so that what adds equally much does so on every machine.
        return round(hypervolume(np.vstack([points, candidates[row]]), box) - volume, 12)

    chosen, points, volume = np.zeros(len(candidates), dtype=bool), rivals, hypervolume(rivals, box)
    # What a candidate adds only shrinks as more are chosen, so that a gain counted earlier is an upper bound.
    waiting = [(-gain(row, points, volume), int(layers[row]), row, 0) for row in range(len(candidates))]
    heapify(waiting)
    while waiting and (number := int(chosen.sum())) < max(least, -(-len(candidates) // divisor)):
        _, layer, row, counted = heappop(waiting)
        if counted < number:
            heappush(waiting, (-gain(row, points, volume), layer, row, number))
            continue
        chosen[row], points = True, np.vstack([points, candidates[row]])
        volume = hypervolume(points, box)
    return chosen
