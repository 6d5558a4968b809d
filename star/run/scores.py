"""The objectives of candidates: a quality is the loss of a proxy, or an estimate that is renewed as more is known."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from star.evaluation.estimate import Estimate
from star.evaluation.objectives import PRICES, QUALITY
from star.records import RANKED, Evaluation, Genome, Individual, Recorded, Status, Task
from star.run.estimates import Candidate, Estimates, Longer, choose_longer, tokens_of
from star.run.plan import RunPlan
from star.search.front import front_mask


class Scores:
    """The objectives of what is recorded in a run, as they were when a generation was closed.

    Args:
        plan: of the run.
        known: the rows that are recorded of its proxies, by hash; more may be added.
        longer: the longer trainings that are recorded, from which qualities are estimated; more may be added.
        number: of the generation.
    """

    def __init__(self, plan: RunPlan, known: Mapping[str, Recorded], longer: Longer, number: int) -> None:
        self._plan, self._known, self._longer = plan, known, longer
        self._estimates = Estimates(plan) if plan.estimation else None
        self._fitted: Longer = {}  # longer trainings to which the estimates are fitted
        self._number = number
        self.renew(number)

    def renew(self, number: int) -> None:
        """Fit the estimates, if there are any, to what was recorded until a generation was closed."""
        self._number = number
        if self._estimates:
            self._fitted = {key: one for key, one in self._longer.items() if one.order.generation <= number}
            self._estimates.renew(self._fitted_rows(), self._fitted)

    @property
    def can_change(self) -> bool:
        """Return whether a quality may be another after the next generation."""
        return self._estimates is not None

    @property
    def are_estimates(self) -> bool:
        """Return whether estimates take the place of the loss of proxies now."""
        return self._estimates is not None and self._estimates.target > 0

    @property
    def target(self) -> int:
        """Return the tokens of the training whose quality is estimated; 0 where that is the proxy's."""
        return self._estimates.target * self._plan.step_tokens if self._estimates else 0

    @property
    def fit(self) -> tuple[dict[str, float], ...]:
        """Return the numbers of each stage of the fit."""
        return self._estimates.fit if self._estimates else ()

    @property
    def sentence(self) -> str:
        """Return in a sentence from what qualities are estimated; empty if they are not."""
        return self._estimates.sentence() if self._estimates else ""

    @property
    def longer_tokens(self) -> dict[tuple[str, int], int]:
        """Return the tokens of each longer training that the estimates are fitted to."""
        return tokens_of(self._fitted, self._plan)

    def values(self, one: Individual | Evaluation, rung: int | None = None) -> list[float]:
        """Return the run's objectives of one; the quality is that at a rung if one is given, or its estimate."""
        own = one.objectives
        if isinstance(one, Evaluation) and self._estimates:
            own = own | {QUALITY: self._quality(self._known[one.hash], rung).mean}
        elif rung is not None:
            own = own | {QUALITY: one.rungs[rung]}
        return [own[name] for name in self._plan.columns]

    def error(self, evaluation: Evaluation) -> float:
        """Return the standard error of a quality; 0 where it was measured."""
        return self._quality(self._known[evaluation.hash]).error if self._estimates else 0.0

    @property
    def can_guess(self) -> bool:
        """Return whether all objectives of an architecture can be estimated without any training of it."""
        return self.are_estimates and {QUALITY, *PRICES} >= set(self._plan.columns)

    def guess(self, genome: Genome, prices: Mapping[str, float]) -> list[float]:
        """Return the objectives that costs, latencies and operators alone give."""
        assert self._estimates, "qualities are estimated"
        known = {**prices, QUALITY: self._estimates.guess(genome).mean}
        return [known[name] for name in self._plan.columns]

    def shortfall(self, evaluation: Evaluation) -> float:
        """Return how far a stopped one was from its end; of those equally far, the better ones are a little nearer."""
        if evaluation.status is not Status.STOPPED:
            return 0.0
        quality = self.values(evaluation)[self._plan.columns.index(QUALITY)]
        whole = self._plan.trained.recipe.steps * self._plan.step_tokens
        return 1 - evaluation.tokens / whole + 1e-3 * quality / (1 + quality)

    def renewed(self, one: Individual) -> Individual:
        """Return an individual with its quality as of now."""
        if not self._estimates or one.status not in RANKED or one.hash not in self._known:
            return one
        evaluation = self._known[one.hash].evaluation
        return replace(
            one,
            objectives=one.objectives | dict(zip(self._plan.columns, self.values(evaluation), strict=True)),
            quality_error=self.error(evaluation),
            shortfall=self.shortfall(evaluation),
        )

    def choose_longer(self, fresh: Sequence[Recorded], front: Sequence[Recorded]) -> list[tuple[Task, int]]:
        """Return which new proxies and which of the front are trained longer now, and on how many tokens, unless that
        is recorded: a function of what was known before, so that it comes out the same after an interruption."""
        ended = {one.task.hash: one for one in (*fresh, *front) if one.evaluation.status is Status.OK}
        if not self._estimates or not ended:
            return []
        candidates = [
            Candidate(one.task, self.values(one.evaluation), self.error(one.evaluation)) for one in ended.values()
        ]
        best = front_mask(np.array([one.values for one in candidates]))
        tokens = sum(one.evaluation.tokens for one in (*self._fitted_rows(), *fresh))
        tokens += sum(self.longer_tokens.values())
        chosen = choose_longer(candidates, best.tolist(), self._fitted, self._plan, tokens)
        return [(task, length) for task, length in chosen if (task.hash, length) not in self._longer]

    def _fitted_rows(self) -> list[Recorded]:
        """Return the trainings with a quality that were recorded until the generation was closed."""
        rows = [one for one in self._known.values() if one.order.generation <= self._number]
        return [one for one in rows if one.evaluation.status in RANKED]

    def _quality(self, row: Recorded, rung: int | None = None) -> Estimate:
        assert self._estimates, "qualities are estimated"
        return self._estimates.estimate(row, self._fitted, rung)
