"""What a run came to, and where the time went."""

import time
from collections.abc import Collection
from dataclasses import dataclass

from star.records import STORE, Evaluation, Generation, Status, Timing
from star.run.plan import RunPlan
from star.workers.pool import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(Timing):
    """A run at its end. Counts cover the whole run, the timing only the process that gives the summary."""

    run: str
    target: str
    context: int
    dtype: str
    batch: int
    limits: dict[str, float]
    generation: int
    evaluations: int
    stopped: int  # of these, proxies that a race did not train to the end
    reused: int  # of these, results of earlier runs, for which no worker of this one trained anything
    training_tokens: int
    failures: dict[str, int]
    duplicates_avoided: int
    repaired: int
    turned_away: int
    turned_away_mostly: str  # the most frequent reason among those that this process met
    hypervolume: float
    front_size: int


class Clock:
    """Measures one process: starting at its making, then `ready`, then every evaluation as it comes in."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._ready = self._seen = self._begun
        self._pool: Pool | None = None
        self._workers = 0  # the most that there were
        self._worker_seconds = 0.0  # that they had until now
        self._busy = 0.0
        self._trained: list[tuple[float, float]] = []

    def ready(self, pool: Pool) -> float:
        """The workers are ready; gives the seconds that took."""
        self._pool = pool
        self._ready = self._seen = time.perf_counter()
        self._look()
        return self._ready - self._begun

    def landed(self, evaluation: Evaluation) -> None:
        """An evaluation has just ended."""
        now = self._look()
        self._busy += evaluation.seconds
        self._trained.append((now - evaluation.train_seconds, now))

    def summarise(
        self,
        run: str,
        plan: RunPlan,
        generation: Generation,
        evaluations: Collection[Evaluation],
        refusal: str = "",
    ) -> Summary:
        """The run's summary as of now, with all its evaluations; `refusal` is why most candidates were turned away."""
        wall = self._look() - self._ready if self._pool else 0.0
        return Summary(
            run=run,
            target=plan.settings.target,
            context=plan.settings.context,
            dtype=plan.settings.dtype,
            batch=plan.settings.batch,
            limits=dict(plan.limits),
            generation=generation.number,
            evaluations=generation.evaluations,
            stopped=sum(one.status is Status.STOPPED for one in evaluations),
            reused=sum(one.worker == STORE for one in evaluations),
            training_tokens=generation.tokens,
            failures=generation.failures,
            duplicates_avoided=generation.duplicates_avoided,
            repaired=generation.repaired,
            turned_away=generation.turned_away,
            turned_away_mostly=refusal,
            hypervolume=generation.hypervolume,
            front_size=len(generation.front),
            workers=self._workers,
            startup_seconds=self._ready - self._begun,
            wall_seconds=wall,
            training_seconds=sum(end - begin for begin, end in self._trained),
            overhead_seconds=max(0.0, wall - covered(self._trained)),
            worker_utilisation=self._busy / self._worker_seconds if wall else 0.0,
        )

    def _look(self) -> float:
        """Count the workers since the last look, as they come and go; gives the time."""
        now, workers = time.perf_counter(), self._pool.num_workers if self._pool else 0
        self._worker_seconds += workers * (now - self._seen)
        self._workers, self._seen = max(self._workers, workers), now
        return now


def covered(intervals: list[tuple[float, float]]) -> float:
    """The length of the union of intervals."""
    total, reached = 0.0, -float("inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total
