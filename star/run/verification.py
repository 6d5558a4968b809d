"""The result of a verification: a front and named baselines after longer training, with intervals and verdicts.

Several seeds of one architecture give the standard deviation s of a training, pooled over architectures, and over those
of a prior of the scale, with d degrees of freedom. With the quantile t of Student's distribution for 95 %, the mean of
n trainings lies within t s / sqrt(n), and the difference of two means within t s sqrt(1 / n + 1 / m).

Where qualities are estimated, the longer trainings also renew the estimates, which order the members then.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

from star.evaluation.estimate import Estimate
from star.evaluation.prior import SeedNoise, seed_noise

LEVEL = 0.95
YES, NO, NOT_SHOWN = "yes", "no", "not shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """One architecture after longer training: a member of the front with its id, or a named baseline.

    `proxy` is the quality that the search knew, None if it was none of the run's; `costs` are the other objectives by
    column; `qualities` are bits per byte by seed; `error` says why there are none; `expected` is the quality after a
    still longer training that these let expect, if that is estimated.
    """

    hash: str
    name: str
    id: int | None = None
    proxy: float | None = None
    costs: dict[str, float]
    qualities: tuple[float, ...] = ()
    error: str = ""
    expected: Estimate | None = None

    @property
    def score(self) -> float:
        """Return the quality that orders: the expected one, or else the mean."""
        return self.expected.mean if self.expected else self.mean

    @property
    def mean(self) -> float:
        """Return the mean quality over seeds; NaN without any."""
        return math.fsum(self.qualities) / len(self.qualities) if self.qualities else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """A front, its baselines to compare with, and the tokens that each was trained on; `ranked_by` says what the run
    ordered by: "proxy" or "estimate"; `expected_tokens` are those of the trainings that expected qualities stand for,
    and `noise` is what is known of other trainings about seeds."""

    tokens: int
    ranked_by: str = "proxy"
    members: tuple[Verified, ...]
    baselines: tuple[Verified, ...]
    expected_tokens: int = 0
    noise: SeedNoise = SeedNoise()

    @property
    def deviation(self) -> tuple[float, int]:
        """Return the pooled standard deviation of one training between seeds, and its degrees of freedom."""
        found = self.noise + seed_noise([one.qualities for one in (*self.members, *self.baselines)])
        return (math.sqrt(found.squares / found.freedom), found.freedom) if found.freedom else (math.nan, 0)

    def half_width(self, *ones: Verified) -> float:
        """Return the half of the interval of a mean, or of the difference of two; NaN without repeated trainings."""
        deviation, freedom = self.deviation
        if not freedom or not all(one.qualities for one in ones):
            return math.nan
        scale = math.sqrt(sum(1 / len(one.qualities) for one in ones))
        return float(stdtrit(freedom, (1 + LEVEL) / 2)) * deviation * scale

    @property
    def front(self) -> list[Verified]:
        """Return the members that no other member dominates by quality and costs, best quality first."""
        known = [one for one in self.members if one.qualities]
        if not known:
            return []
        from star.search.front import front_mask  # which loads pymoo

        mask = front_mask(np.array([[one.score, *one.costs.values()] for one in known]))
        return sorted((one for one, is_best in zip(known, mask, strict=True) if is_best), key=lambda one: one.score)

    def verdict(self, baseline: Verified) -> tuple[str, tuple[int, ...]]:
        """Return whether a member beats a baseline on all objectives: "yes", with the ids of those that do, "no" where
        each member costs more in something or is worse, and "not shown" where the intervals leave it open.
        """
        cheaper = [one for one in self.members if one.qualities and _costs_no_more(one, baseline)]
        return _judge([(one, one.mean - baseline.mean, self.half_width(one, baseline)) for one in cheaper])

    def expected_verdict(self, baseline: Verified) -> tuple[str, tuple[int, ...]]:
        """Return the verdict by expected qualities and their standard errors."""
        cheaper = [one for one in self.members if one.qualities and _costs_no_more(one, baseline)]
        gaps = [(one, *_expected_gap(one.expected, baseline.expected)) for one in cheaper]
        return _judge(gaps)


def _expected_gap(one: Estimate | None, other: Estimate | None) -> tuple[float, float]:
    """Return the difference of two estimates and the half of its interval; NaN where one is missing."""
    if not one or not other:
        return math.nan, math.nan
    return one.mean - other.mean, float(ndtri((1 + LEVEL) / 2)) * math.hypot(one.error, other.error)


def _judge(gaps: Sequence[tuple[Verified, float, float]]) -> tuple[str, tuple[int, ...]]:
    """Return the verdict of members that cost no more than a baseline, by how much worse each is and the half of the
    interval of that."""
    if beating := tuple(one.id for one, gap, half in gaps if gap < -half and one.id is not None):
        return YES, beating
    return (NO if all(gap > half for _, gap, half in gaps) else NOT_SHOWN), ()


def closest_calls(verification: Verification) -> set[str]:
    """Return the hashes of the architectures whose seed decides most: the half of all in the comparisons of the
    smallest gap. A member is compared with each member and baseline that it costs no more than.
    """
    everyone = [one for one in (*verification.members, *verification.baselines) if one.qualities]
    gaps = sorted(
        (abs(one.mean - other.mean), i, one.hash, other.hash)
        for i, one in enumerate(verification.members)
        for other in everyone
        if one.qualities and one.hash != other.hash and _costs_no_more(one, other)
    )
    found: dict[str, None] = {}
    for _, _, one, other in gaps:
        if len(found) < math.ceil(len(everyone) / 2):
            found |= {one: None, other: None}
    return set(found)


def changed_places(members: Sequence[Verified]) -> dict[str, tuple[int, int]]:
    """Return the place of each member in the order of the search and in that of the verification, counted from 1, by
    hash."""
    known = [one for one in members if one.qualities and one.proxy is not None]
    orders = (sorted(known, key=key) for key in (lambda one: one.proxy, lambda one: one.score))
    before, after = ({one.hash: place for place, one in enumerate(order, 1)} for order in orders)
    return {one.hash: (before[one.hash], after[one.hash]) for one in known}


def _costs_no_more(one: Verified, other: Verified) -> bool:
    return all(one.costs[name] <= value for name, value in other.costs.items())
