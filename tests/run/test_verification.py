"""Intervals and verdicts of a verification, against scipy's tests, naive twins and cases by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from star.cli.verification import print_verification
from star.evaluation.estimate import Estimate
from star.evaluation.prior import SeedNoise
from star.run.verification import NO, NOT_SHOWN, YES, Verification, Verified, changed_places, closest_calls


def one(name, qualities, params=1.0, cache=1.0, proxy=None):
    costs = {"params": params, "cache_bytes": cache}
    id = int(name) if name.isdecimal() else None
    return Verified(hash=name, name=name, id=id, proxy=proxy, costs=costs, qualities=tuple(qualities))


def of(members, baselines=()):
    return Verification(tokens=1000, members=tuple(members), baselines=tuple(baselines))


numbers = st.floats(1, 5, allow_nan=False)
groups = st.lists(numbers, min_size=2, max_size=5).filter(lambda group: np.ptp(group) > 1e-3)


@given(groups, groups)
def test_intervals_are_those_of_students_test(first, second):
    a, b = one("0", first), one("1", second)
    found = of([a, b])
    expected = stats.ttest_ind(first, second).confidence_interval(0.95)
    gap, half = a.mean - b.mean, found.half_width(a, b)
    assert (gap - half, gap + half) == pytest.approx((expected.low, expected.high), abs=1e-9)
    alone = of([a])
    low, high = stats.t.interval(0.95, len(first) - 1, np.mean(first), stats.sem(first))
    assert (a.mean - alone.half_width(a), a.mean + alone.half_width(a)) == pytest.approx((low, high), abs=1e-9)


def test_without_repeated_trainings_there_is_no_interval_and_nothing_is_shown():
    member, baseline = one("0", [2.0]), one("d", [3.0])
    found = of([member], [baseline])
    assert math.isnan(found.half_width(member)) and found.deviation[1] == 0
    assert found.verdict(baseline) == (NOT_SHOWN, ())


@pytest.mark.parametrize(
    ("member", "baseline", "verdict"),
    [
        (one("7", [2.0, 2.01]), one("d", [3.0, 3.01]), (YES, (7,))),
        (one("7", [3.0, 3.01]), one("d", [2.0, 2.01]), (NO, ())),
        (one("7", [2.0, 2.1]), one("d", [2.05, 2.0]), (NOT_SHOWN, ())),
        (one("7", [2.0, 2.01], cache=2.0), one("d", [3.0, 3.01]), (NO, ())),
        (one("7", [2.0, 2.01], params=0.5, cache=1.0), one("d", [3.0, 3.01]), (YES, (7,))),
        (one("7", []), one("d", [3.0, 3.01]), (NO, ())),
        (one("7", [2.0, 2.01]), one("d", []), (NOT_SHOWN, ())),
    ],
)
def test_verdicts_by_hand(member, baseline, verdict):
    assert of([member], [baseline]).verdict(baseline) == verdict


points = st.tuples(numbers, st.integers(1, 4), st.integers(1, 4))


@given(st.lists(points, min_size=1, max_size=8))
def test_the_verified_front_is_what_no_other_member_dominates(rows):
    members = [one(str(i), [quality], params, cache) for i, (quality, params, cache) in enumerate(rows)]

    def dominates(a, b):
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    expected = [i for i, row in enumerate(rows) if not any(dominates(other, row) for other in rows)]
    found = of([*members, one("99", [])]).front
    assert sorted(member.id for member in found) == expected
    assert [member.mean for member in found] == sorted(member.mean for member in found)


def test_closest_calls_are_the_half_with_the_smallest_gaps():
    members = [one("0", [2.0]), one("1", [2.5]), one("2", [2.51])]
    baselines = [one("d", [2.6]), one("e", [2.001], cache=0.5)]
    assert closest_calls(of(members, baselines)) == {"1", "2", "d"}
    assert closest_calls(of([one("0", [2.0], cache=2.0)], [one("e", [2.001])])) == set()


def test_places_are_those_in_both_orders():
    members = [one("0", [2.2], proxy=3.0), one("1", [2.0], proxy=3.1), one("2", [], proxy=2.9)]
    assert changed_places(members) == {"0": (1, 2), "1": (2, 1)}


def test_a_cost_that_was_not_measured_is_an_empty_cell(capsys):
    member = Verified(hash="0", name="0", id=0, costs={"params": 1.0, "decode_ms": 2.0}, qualities=(2.0,))
    baseline = Verified(hash="b", name="slow", costs={"params": 1.0}, error="FAILED: no latency")
    print_verification(Verification(tokens=1, members=(member,), baselines=(baseline,)))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("slow")]
    assert line.split() == ["slow", "FAILED", "1", "not", "shown"]


def test_noise_that_is_known_gives_intervals_to_trainings_of_one_seed():
    known = SeedNoise(squares=0.0008, freedom=8)
    found = replace(of([one("0", [2.0])], [one("b", [2.1])]), noise=known)
    assert found.deviation == pytest.approx((0.01, 8))
    assert found.half_width(found.members[0]) == pytest.approx(2.306004 * 0.01)  # Student's quantile, 8 degrees
    assert found.verdict(found.baselines[0]) == ("yes", (0,))
    repeated = replace(of([one("0", [2.0, 2.02])], [one("b", [2.1])]), noise=known)
    assert repeated.deviation == pytest.approx((math.sqrt(0.001 / 9), 9)), "pooled with the own trainings"


def test_expected_qualities_order_members_and_judge_baselines():
    rows = [one("0", [2.0]), one("1", [2.1], cache=2.0), one("2", [2.2])]
    means = {"0": 1.9, "1": 1.8, "2": 1.85}
    members = [replace(row, expected=Estimate(means[row.hash], 0.01)) for row in rows]
    worse, close = (replace(one("b", [2.0]), expected=Estimate(mean, 0.01)) for mean in (1.95, 1.87))
    found = Verification(tokens=1, members=tuple(members), baselines=(worse, close, one("c", [2.0])), expected_tokens=4)
    assert [row.hash for row in found.front] == ["1", "2"], "by measured qualities 0 would lead"
    assert changed_places(members) == {}, "no proxies"
    assert found.expected_verdict(worse) == ("yes", (0, 2)), "1 has a larger cache"
    assert found.expected_verdict(close) == ("not shown", ())
    assert found.expected_verdict(found.baselines[2]) == ("not shown", ()), "nothing is expected of it"
    assert found.verdict(worse)[0] == "not shown", "one seed each"
