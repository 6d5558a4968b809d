"""How far a fit can be trusted: intervals by bootstrap over runs, and a fit without the largest budgets."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from star.errors import UserError
from star.laws.fits import Fit, fit, refit
from star.laws.runs import Runs

LEVEL = 0.95
HELD_OUT = 0.25  # of the runs, those of the largest budgets
WORST_LOST = 0.1  # of the samples, that could not be fitted


class Interval(NamedTuple):
    """The ends of an interval of level 95 %."""

    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """The laws of samples of runs that were drawn with replacement (Efron 1979, Bootstrap methods: another look at the
    jackknife)."""

    laws: list[Any]

    def interval(self, quantity: Callable[[Any], float]) -> Interval:
        """Return the interval of a function of the law between the 2.5 % and 97.5 % quantiles of the samples."""
        tail = (1 - LEVEL) / 2
        low, high = np.quantile([quantity(law) for law in self.laws], [tail, 1 - tail])
        return Interval(float(low), float(high))

    def constants(self) -> dict[str, Interval]:
        """Return the interval of each constant by name."""
        names = type(self.laws[0]).__dataclass_fields__
        return {name: self.interval(lambda law, name=name: getattr(law, name)) for name in names}


def bootstrap(runs: Runs, made: Fit, samples: int = 1000, seed: int = 0) -> Bootstrap:
    """Fit the law of `made` to samples of its runs.

    Raises:
        UserError: more than a tenth of the samples cannot carry the law.
    """
    random = np.random.default_rng(seed)
    counts = random.multinomial(len(runs), np.full(len(runs), 1 / len(runs)), size=samples).astype(float)
    laws = [law for law in refit(runs, made, counts) if law is not None]
    if len(laws) < (1 - WORST_LOST) * samples:
        raise UserError(
            f"there are no intervals: {samples - len(laws)} of {samples} samples of the runs cannot be fitted"
        )
    return Bootstrap(laws)


class HeldOut(NamedTuple):
    """A fit without the largest budgets, and what it predicts of them.

    Attributes:
        flops: the largest budget that was left in.
        runs: how many were left out.
        constants: of the law without them; None if it was refused, for `reason`.
        error: the mean of |log residuals| of the runs left out.
        bias: the mean of their log residuals; positive if the law promises too much.
    """

    flops: float
    runs: int
    constants: dict[str, float] | None
    error: float = float("nan")
    bias: float = float("nan")
    reason: str = ""


def leave_out_largest(runs: Runs, made: Fit, share: float = HELD_OUT) -> HeldOut:
    """Fit the law of `made` without the runs of the largest budgets, and predict them."""
    last = np.sort(runs.budgets)[int((1 - share) * len(runs)) - 1]
    kept = runs.budgets <= last * (1 + 1e-9)
    out = runs.take(~kept)
    if not len(out):
        return HeldOut(float(last), 0, None, reason="too many runs share the largest budget")
    try:
        found = fit(runs.take(kept), made.name, "vp", made.objective)
    except UserError as error:
        return HeldOut(float(last), len(out), None, reason=str(error))
    residuals = np.log(out.loss / found.law.predict(out))
    return HeldOut(
        flops=float(last),
        runs=len(out),
        constants=found.constants,
        error=float(np.abs(residuals).mean()),
        bias=float(residuals.mean()),
    )
