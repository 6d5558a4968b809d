"""Paired tests and Holm's correction against scipy, a naive twin and a published example."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from star.comparison.statistics import Difference, Mean, holm, mean, paired_p

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def test_the_interval_of_a_mean_is_that_of_scipy():
    values = np.random.default_rng(0).normal(2.0, 0.1, 7)
    found = mean(values)
    low, high = stats.t.interval(0.95, 6, loc=values.mean(), scale=stats.sem(values))
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high), rel=1e-12)
    assert math.isnan(mean([1.0]).half)


def test_the_interval_of_a_difference_excludes_zero_where_its_p_is_small():
    rng = np.random.default_rng(1)
    for _ in range(200):
        some, others = rng.normal(0, 1, (2, 5)) + np.array([[0.0], [rng.normal()]])
        gap = mean(some - others)
        assert (abs(gap.mean) > gap.half) == (paired_p(some, others) < 0.05)


def test_pairs_take_out_what_seeds_have_in_common():
    """Differences of 0.01 under a common noise of 1: unpaired nothing is shown."""
    rng = np.random.default_rng(2)
    common = rng.normal(0, 1, 4)
    some, others = common + rng.normal(0, 1e-3, 4), common + 0.01 + rng.normal(0, 1e-3, 4)
    assert paired_p(some, others) < 0.01 < 0.9 < stats.ttest_ind(some, others).pvalue


def test_one_pair_is_no_test_and_equal_pairs_show_nothing():
    assert math.isnan(paired_p([1.0], [2.0]))
    assert paired_p([1.0, 2.0], [1.0, 2.0]) == 1.0
    assert paired_p([1.0, 2.0], [2.0, 3.0]) == 0.0


def test_holm_on_a_published_example():
    """p = 0.01, 0.04, 0.03, 0.005 become 0.03, 0.06, 0.06, 0.02 (R's p.adjust)."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(P_VALUES)
def test_holm_rejects_what_its_steps_reject(values):
    """Step by step as Holm wrote it: the smallest against alpha / m, the next against alpha / (m - 1), to a failure."""
    order, rejected = sorted(range(len(values)), key=values.__getitem__), set()
    for step, place in enumerate(order):
        if values[place] * (len(values) - step) >= 0.05:
            break
        rejected.add(place)
    assert {place for place, value in enumerate(holm(values)) if value < 0.05} == rejected


@given(P_VALUES, st.integers(0, 8))
def test_a_test_that_was_none_is_not_counted(values, place):
    with_none = [*values[:place], math.nan, *values[place:]]
    found = holm(with_none)
    assert math.isnan(found[min(place, len(values))])
    assert [one for one in found if not math.isnan(one)] == holm(values)


@pytest.mark.parametrize(
    ("gap", "p", "better"), [(-1.0, 0.01, "a"), (1.0, 0.01, "b"), (1.0, 0.06, ""), (1.0, math.nan, "")]
)
def test_the_better_one_has_fewer_bits(gap, p, better):
    assert Difference(one="a", other="b", difference=Mean(gap, 0.1), p=p).better == better
