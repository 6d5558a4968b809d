"""A pool of workers in virtual time, to measure what a driver does with ten thousand of them."""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from star.records import Job, Result
from star.workers.pool import Evaluate
from star.workers.usage import UsageMeter


@dataclass(frozen=True, slots=True)
class Span:
    """When a worker was at a job, in virtual seconds."""

    worker: int
    begun: float
    ended: float


class SimulatedPool:
    """A Pool with a clock of its own: a job takes as long as `durations` says, and its result is there at its end.

    Args:
        evaluate: gives the result of a job; the real time that it takes does not count.
        durations: virtual seconds of a job on a worker of speed 1.
        speeds: of the workers, whose number this gives; a worker of speed 1/3 takes three times as long.
        driver_clock: real seconds; what passes of them between the calls, passes in the virtual time too, as the
            driver's own. None: the driver takes no time.

    A worker that becomes free begins the job that waits longest, if one waits, but not before the driver calls `take`:
    it is the driver's process that hands jobs out.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        durations: Callable[[Job], float],
        speeds: Sequence[float],
        driver_clock: Callable[[], float] | None = None,
    ) -> None:
        self.now = 0.0  # virtual seconds since the beginning
        self.spans: list[Span] = []  # in order of beginning
        self.usage = UsageMeter(lambda: self.now)
        self.usage.set_workers(len(speeds))
        self._evaluate = evaluate
        self._durations = durations
        self._speeds = speeds
        self._driver_clock = driver_clock or (lambda: 0.0)
        self._left = self._driver_clock()
        self._waiting: deque[Job] = deque()
        self._running: list[tuple[float, int, Job]] = []  # a heap: end, worker, job
        self._seconds: dict[int, float] = {}  # of the jobs that run, by worker
        self._idle = deque(range(len(speeds)))

    @property
    def num_workers(self) -> int:
        """Return the number of workers."""
        return len(self._speeds)

    @property
    def pending(self) -> int:
        """Return the number of jobs that were submitted and whose results were not taken yet."""
        return len(self._waiting) + len(self._running)

    def submit(self, job: Job) -> None:
        """Begin a job as soon as a worker is free."""
        self._pass_time()
        self._waiting.append(job)
        self._feed()
        self._left = self._driver_clock()

    def take(self) -> Result:
        """Return the result of the job that ends next."""
        assert self._running, "nothing was submitted"
        self._pass_time()
        ended, worker, job = heapq.heappop(self._running)
        self.now = max(self.now, ended)
        self._idle.append(worker)
        self.usage.end(worker, self._seconds.pop(worker))
        self._feed()
        result = self._evaluate(job)
        self._left = self._driver_clock()
        return result

    def utilisation(self, begin: float, end: float) -> float:
        """Return the share of the workers' time between two moments in which they were at a job."""
        busy = sum(max(0.0, min(end, span.ended) - max(begin, span.begun)) for span in self.spans)
        return busy / (self.num_workers * (end - begin))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def _pass_time(self) -> None:
        self.now += self._driver_clock() - self._left

    def _feed(self) -> None:
        while self._waiting and self._idle:
            worker, job = self._idle.popleft(), self._waiting.popleft()
            self._seconds[worker] = self._durations(job) / self._speeds[worker]
            self.usage.begin(worker)
            ended = self.now + self._seconds[worker]
            heapq.heappush(self._running, (ended, worker, job))  # no two of one worker, so that no jobs are compared
            self.spans.append(Span(worker, self.now, ended))
