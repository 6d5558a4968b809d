"""The best share of candidates, against a naive program."""

import numpy as np
import pytest
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance

from star.search.racing import best_share


def dominates(a, b):
    return bool((a <= b).all() and (a < b).any())


def layers_of(points):
    """The layer of each point, by its definition: what is left without all layers before and is not dominated."""
    layers, left, layer = {}, set(range(len(points))), 0
    while left:
        best = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        layers |= dict.fromkeys(best, layer)
        left, layer = left - best, layer + 1
    return layers


@pytest.mark.parametrize("seed", range(30))
def test_the_best_share_is_what_nsga2_would_keep(seed):
    rng = np.random.default_rng(seed)
    own, others = rng.random((int(rng.integers(1, 20)), 3)), rng.random((int(rng.integers(0, 10)), 3))
    divisor = int(rng.integers(1, 6))
    stays = best_share(own, others, divisor)
    assert stays.sum() == -(-len(own) // divisor)
    points = np.vstack([own, others])
    layers = layers_of(points)
    crowding = {}
    for layer in set(layers.values()):
        members = [i for i in range(len(points)) if layers[i] == layer]
        crowding |= dict(zip(members, calc_crowding_distance(points[members]), strict=True))
    kept = [(layers[i], -crowding[i]) for i in range(len(own)) if stays[i]]
    left = [(layers[i], -crowding[i]) for i in range(len(own)) if not stays[i]]
    assert not left or max(kept) <= min(left)
