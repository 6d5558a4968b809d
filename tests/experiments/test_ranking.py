"""Agreement of orders against scipy, classes of bytes against a naive program, and estimates that leave groups out."""

import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from support.paths import ROOT
from torch import nn

sys.path.insert(0, str(ROOT / "experiments" / "benchmarks"))  # as Python does for scripts that stand there

from measuring.losses import find_repeated, measure_classes  # noqa: E402
from measuring.ranking import front_share, kendall, kendall_gain, spearman  # noqa: E402
from proxy import MARKS, Reference, estimates, family_of  # noqa: E402

from star.architecture.genome import Space, canonical  # noqa: E402

RNG = np.random.default_rng(3)


@given(st.integers(0, 1000), st.integers(3, 12))
def test_correlations_are_those_of_scipy(seed, size):
    one, other = np.random.default_rng(seed).permutation(size), np.random.default_rng(seed + 1).permutation(size)
    assert kendall(one, other).value == pytest.approx(stats.kendalltau(one, other).statistic)
    assert spearman(one, other).value == pytest.approx(stats.spearmanr(one, other).statistic)


@given(st.integers(0, 1000), st.integers(3, 12))
def test_a_gain_in_tau_is_the_difference_of_two_taus(seed, size):
    truth, one, other = (np.random.default_rng(seed + i).permutation(size) for i in range(3))
    found = kendall_gain(one, other, truth)
    assert found.value == pytest.approx(kendall(one, truth).value - kendall(other, truth).value)
    assert kendall_gain(one, one, truth) == (0, 0, 0)


def test_a_gain_in_tau_has_the_interval_of_the_difference():
    """Two orders that differ in one pair: each tau varies with the architectures, their difference hardly."""
    truth, one = np.arange(20), np.random.default_rng(1).permutation(20)
    other = np.where(one == 3, 4, np.where(one == 4, 3, one))
    gain, tau = kendall_gain(one, other, truth), kendall(one, truth)
    assert gain.high - gain.low < (tau.high - tau.low) / 4


def test_tau_over_chosen_pairs_counts_these_alone():
    scores, truth = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 1.0, 3.0, 4.0])
    first = np.array([True, True, False, False])
    assert kendall(scores, truth, first[:, None] & first).value == -1
    assert kendall(scores, truth, ~first[:, None] & ~first).value == 1
    found = kendall(scores, truth)
    assert found.value == pytest.approx(2 / 3) and found.low <= found.value <= found.high


def test_share_of_the_front_is_one_for_the_true_order_and_less_for_another():
    truth, costs = np.array([1.0, 2.0, 3.0]), np.array([[3.0], [2.0], [1.0]])
    assert front_share(truth, truth, costs) == pytest.approx(1)
    assert front_share(np.array([3.0, 2.0, 1.0]), truth, costs) < 1


def reference(corpus, seed, genomes):
    """Whole trainings of these genomes with losses at random."""
    rng, number = np.random.default_rng(seed), len(genomes)
    curves = 3 - np.sort(rng.random((number, len(MARKS))), axis=1)
    return Reference(
        corpus=corpus,
        genomes=genomes,
        kinds=np.array(["paper"] * number),
        families=np.array([family_of(genome) for genome in genomes]),
        losses=curves[:, -1:] - rng.random((number, 1)),
        curves=curves,
        seconds=np.ones((number, len(MARKS))),
        costs=rng.random((number, 3)),
    )


def test_an_estimate_never_sees_what_it_leaves_out():
    """Whatever the long training of an architecture gave, on either corpus: its own estimate stays as it is."""
    space = Space(8)
    genomes = list(dict.fromkeys(canonical(space.sample(RNG)) for _ in range(24)))
    own, other = reference("stdlib", 1, genomes), reference("prose", 2, genomes)
    losses = own.curves[:, :2]
    before = estimates(losses, 1.0, own, [own, other])
    family = own.families == own.families[0]
    assert 1 < family.sum() < len(genomes)
    for place, left_out in enumerate((np.arange(len(genomes)) == 0, family)):
        changed = [replace(one, losses=np.where(left_out[:, None], 100.0, one.losses)) for one in (own, other)]
        after = estimates(losses, 1.0, changed[0], changed)
        np.testing.assert_array_equal(before[place].values[left_out], after[place].values[left_out])
        assert not np.isclose(before[place].values[~left_out], after[place].values[~left_out]).any()


class Table(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.randn(256, 256, generator=torch.Generator().manual_seed(1))

    def forward(self, tokens):
        return self.table[tokens]


def test_losses_by_class_are_what_a_naive_program_computes():
    text = RNG.integers(0, 5, 2000).astype(np.uint8)
    model, length = Table(), 16
    table, bits = model.table.double().numpy(), {True: [], False: []}
    count = 320 // length
    for start in range(0, count * (len(text) // count), len(text) // count):
        seen = set()
        for a, b in zip(text[start : start + length], text[start + 1 : start + length + 1], strict=True):
            loss = (math.log(np.exp(table[a]).sum()) - table[a, b]) / math.log(2)
            bits[(a, b) in seen].append(loss)
            seen.add((a, b))
    found = measure_classes(model, text, length, 320)
    everything = bits[True] + bits[False]
    expected = [sum(one) / len(one) for one in (everything, bits[True], bits[False])]
    assert list(found) == pytest.approx(expected, rel=1e-5)
    assert find_repeated(np.array([[1, 2, 1, 2, 1]])).tolist() == [[False, False, True, True]]
