"""The best share of candidates, against a naive program."""

import numpy as np
import pytest

from star.search.front import front_mask, hypervolume, reference_box
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
def test_the_best_share_adds_most_hypervolume_one_by_one(seed):
    rng = np.random.default_rng(seed)
    own, others = rng.random((int(rng.integers(1, 20)), 3)), rng.random((int(rng.integers(0, 10)), 3))
    divisor, least = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    points = np.vstack([own, others])
    layers, box = layers_of(points), reference_box(points[front_mask(points)])
    chosen = []
    for _ in range(min(len(own), max(least, -(-len(own) // divisor)))):

        def rank(i):
            known = [*others, *own[chosen]]
            before = hypervolume(np.array(known), box) if known else 0.0
            return -round(hypervolume(np.array([*known, own[i]]), box) - before, 12), layers[i], i

        chosen.append(min((i for i in range(len(own)) if i not in chosen), key=rank))
    assert np.flatnonzero(best_share(own, others, divisor, least)).tolist() == sorted(chosen)


def test_an_extreme_that_is_hardly_better_waits():
    """By crowding it would come first."""
    front = np.array([[1.0, 5.0], [2.0, 2.0], [5.0, 1.0]])
    candidates = np.array([[0.99, 50.0], [1.4, 3.0]])
    assert best_share(candidates, front, 2).tolist() == [False, True]
