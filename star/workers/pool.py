"""What a pool of workers is, and the simplest one: this process."""

from collections import deque
from collections.abc import Callable
from typing import Protocol, Self

from star.records import Job, Result

Evaluate = Callable[[Job], Result]


class Pool(Protocol):
    """Evaluates jobs, those submitted first begun first. A context manager: leaving it ends every process that the
    pool began."""

    num_workers: int  # of this moment; a cluster grows and shrinks

    @property
    def pending(self) -> int:
        """Jobs that were submitted and whose results were not taken yet."""
        ...

    def submit(self, job: Job) -> None:
        """Begin a job as soon as a worker is free."""

    def take(self) -> Result:
        """Wait for a job to end and give its result. Each job gives one, in order of completion."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...


class SerialPool:
    """Evaluates one job after the other in this process, for debugging. It cannot stop one that hangs."""

    num_workers = 1

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self._waiting: deque[Job] = deque()

    @property
    def pending(self) -> int:
        """See Pool."""
        return len(self._waiting)

    def submit(self, job: Job) -> None:
        """See Pool."""
        self._waiting.append(job)

    def take(self) -> Result:
        """See Pool."""
        return self._evaluate(self._waiting.popleft())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass
