"""The interface of a pool of workers, and the simplest pool: this process."""

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, Self

from star.records import Job, Result
from star.workers.usage import UsageMeter

Evaluate = Callable[[Job], Result]


class Pool(Protocol):
    """Evaluates jobs; those submitted first begin first. A context manager: leaving it ends every process that the
    pool began."""

    num_workers: int  # of this moment; a cluster grows and shrinks
    usage: UsageMeter

    @property
    def pending(self) -> int:
        """Return the number of jobs that were submitted and whose results were not taken yet."""
        ...

    def submit(self, job: Job) -> None:
        """Begin a job as soon as a worker is free."""

    def take(self) -> Result:
        """Wait for a job to end and return its result. Each job gives one, in order of completion."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...


class SerialPool:
    """Evaluates one job after the other in this process, for debugging. It cannot stop one that hangs."""

    num_workers = 1

    def __init__(self, evaluate: Evaluate) -> None:
        self.usage = UsageMeter(time.monotonic)
        self.usage.set_workers(1)
        self._evaluate = evaluate
        self._waiting: deque[Job] = deque()

    @property
    def pending(self) -> int:
        """Return the number of jobs that were submitted and whose results were not taken yet."""
        return len(self._waiting)

    def submit(self, job: Job) -> None:
        """Evaluate a job after those submitted before."""
        self._waiting.append(job)

    def take(self) -> Result:
        """Evaluate the next job and return its result."""
        job = self._waiting.popleft()
        self.usage.begin(job)
        try:
            return self._evaluate(job)
        finally:
            self.usage.end(job)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass
