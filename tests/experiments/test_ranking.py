"""Agreement of orders against scipy, classes of bytes against a naive program, and fits that leave groups out."""

import math
import sys

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
from measuring.ranking import front_share, kendall, predict_left_out, spearman  # noqa: E402

RNG = np.random.default_rng(3)


@given(st.integers(0, 1000), st.integers(3, 12))
def test_correlations_are_those_of_scipy(seed, size):
    one, other = np.random.default_rng(seed).permutation(size), np.random.default_rng(seed + 1).permutation(size)
    assert kendall(one, other).value == pytest.approx(stats.kendalltau(one, other).statistic)
    assert spearman(one, other).value == pytest.approx(stats.spearmanr(one, other).statistic)


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


def test_a_fit_never_sees_the_group_that_it_predicts():
    """The targets of a group can be anything: its own predictions stay as they are."""
    x, groups = RNG.normal(size=(20, 3)), np.repeat(np.arange(4), 5)
    y = x @ [1.0, -2.0, 0.5] + 3
    found = predict_left_out(x, y, groups, ridge=1e-9)
    assert found == pytest.approx(y)
    changed = np.where(groups == 2, 100.0, y)
    again = predict_left_out(x, changed, groups, ridge=1e-9)
    assert again[groups == 2] == pytest.approx(found[groups == 2])
    assert not np.allclose(again[groups != 2], found[groups != 2])


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
