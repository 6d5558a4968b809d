"""The result of a verification: a front and named baselines after longer training, with intervals and verdicts.

Several seeds of one architecture give the standard deviation s of a training, pooled over architectures with d degrees
of freedom. With the quantile t of Student's distribution for 95 %, the mean of n trainings lies within t s / sqrt(n),
and the difference of two means within t s sqrt(1 / n + 1 / m).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95
YES, NO, NOT_SHOWN = "yes", "no", "not shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """One architecture after longer training: a member of the front with its id, or a named baseline.

    `proxy` is the quality of its proxy, None if it was none of the run's; `costs` are the other objectives by column;
    `qualities` are bits per byte by seed; `error` says why there are none.
    """

    hash: str
    name: str
    id: int | None = None
    proxy: float | None = None
    costs: dict[str, float]
    qualities: tuple[float, ...] = ()
    error: str = ""

    @property
    def mean(self) -> float:
        """Return the mean quality over seeds; NaN without any."""
        return math.fsum(self.qualities) / len(self.qualities) if self.qualities else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """A front, its baselines to compare with, and the tokens that each was trained on; `ranked_by` says what the run
    ordered by: "proxy" or "estimate"."""

    tokens: int
    ranked_by: str = "proxy"
    members: tuple[Verified, ...]
    baselines: tuple[Verified, ...]

    @property
    def deviation(self) -> tuple[float, int]:
        """Return the pooled standard deviation of one training between seeds, and its degrees of freedom."""
        groups = [one.qualities for one in (*self.members, *self.baselines) if len(one.qualities) > 1]
        freedom = sum(len(group) - 1 for group in groups)
        squares = sum(float(np.var(group)) * len(group) for group in groups)
        return (math.sqrt(squares / freedom), freedom) if freedom else (math.nan, 0)

    def half_width(self, *ones: Verified) -> float:
        """Return the half of the interval of a mean, or of the difference of two; NaN without repeated trainings."""
        deviation, freedom = self.deviation
        if not freedom or not all(one.qualities for one in ones):
            return math.nan
        scale = math.sqrt(sum(1 / len(one.qualities) for one in ones))
        return float(stdtrit(freedom, (1 + LEVEL) / 2)) * deviation * scale

    @property
    def front(self) -> list[Verified]:
        """Return the members that no other member dominates by verified quality and costs, best quality first."""
        known = [one for one in self.members if one.qualities]
        if not known:
            return []
        from star.search.front import front_mask  # which loads pymoo

        mask = front_mask(np.array([[one.mean, *one.costs.values()] for one in known]))
        return sorted((one for one, is_best in zip(known, mask, strict=True) if is_best), key=lambda one: one.mean)

    def verdict(self, baseline: Verified) -> tuple[str, tuple[int, ...]]:
        """Return whether a member beats a baseline on all objectives: "yes", with the ids of those that do, "no" where
        each member costs more in something or is worse, and "not shown" where the intervals leave it open.
        """
        cheaper = [one for one in self.members if one.qualities and _costs_no_more(one, baseline)]
        gaps = [(one, one.mean - baseline.mean, self.half_width(one, baseline)) for one in cheaper]
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
    """Return the place of each member in the order of proxies and in the verified order, counted from 1, by hash."""
    known = [one for one in members if one.qualities and one.proxy is not None]
    orders = (sorted(known, key=key) for key in (lambda one: one.proxy, lambda one: one.mean))
    before, after = ({one.hash: place for place, one in enumerate(order, 1)} for order in orders)
    return {one.hash: (before[one.hash], after[one.hash]) for one in known}


def _costs_no_more(one: Verified, other: Verified) -> bool:
    return all(one.costs[name] <= value for name, value in other.costs.items())
