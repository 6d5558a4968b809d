"""The result of a run in numbers, and where its time went."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from star.records import STORE, Evaluation, Generation, Status, Timing
from star.run.plan import RunPlan
from star.workers.pool import Pool
from star.workers.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(Timing):
    """The numbers of a run. Counts cover the whole run, the timing only the process that makes the summary."""

    run: str
    target: str
    context: int
    dtype: str
    batch: int
    limits: dict[str, float]
    generation: int
    evaluations: int
    screened: int  # candidates that an estimate judged in place of a proxy
    stopped: int  # proxies that a race did not train to the end
    reused: int  # proxies that are results of earlier runs, for which no worker of this one trained anything
    training_tokens: int
    failures: dict[str, int]
    duplicates_avoided: int
    repaired: int
    turned_away: int
    turned_away_mostly: str  # the most frequent reason among those that this process met
    hypervolume: float
    front_size: int


class Clock:
    """Measures one process: its start, from the making of the clock until `ready`, and then the use of its workers."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._startup_seconds = 0.0
        self._training_seconds = 0.0
        self._read: Callable[[], Usage] = Usage

    def ready(self, pool: Pool) -> float:
        """Begin to measure the workers of a pool, which are ready now. Return the seconds since the making."""
        self._startup_seconds = time.perf_counter() - self._begun
        self._read = partial(pool.usage.read, pool.usage.now())
        return self._startup_seconds

    def landed(self, evaluation: Evaluation) -> None:
        """Count the training of an evaluation that has ended."""
        self._training_seconds += evaluation.train_seconds

    def summarise(
        self,
        run: str,
        plan: RunPlan,
        generation: Generation,
        evaluations: Collection[Evaluation],
        refusal: str = "",
    ) -> Summary:
        """Return the summary of a run as of now; `refusal` is why most candidates were infeasible."""
        usage = self._read()
        return Summary(
            run=run,
            target=plan.settings.target,
            context=plan.settings.context,
            dtype=plan.settings.dtype,
            batch=plan.settings.batch,
            limits=dict(plan.limits),
            generation=generation.number,
            evaluations=generation.evaluations,
            screened=sum(one.status is Status.SCREENED for one in evaluations),
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
            workers=usage.workers,
            startup_seconds=self._startup_seconds,
            wall_seconds=usage.seconds,
            training_seconds=self._training_seconds,
            overhead_seconds=usage.idle_seconds,
            worker_utilisation=usage.utilisation,
        )
