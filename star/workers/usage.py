"""Measure how many workers a pool had, and when they were at a job."""

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

Interval = tuple[float, float]  # begin and end, in seconds


class Usage(NamedTuple):
    """The use of a pool's workers over some time, in seconds."""

    seconds: float = 0.0
    workers: int = 0  # the most that there were at once
    worker_seconds: float = 0.0  # added up over workers
    busy_seconds: float = 0.0  # of these, at a job
    idle_seconds: float = 0.0  # in which no worker was at a job

    @property
    def utilisation(self) -> float:
        """The share of the workers' time in which they were at a job; 0 if there was no such time."""
        return self.busy_seconds / self.worker_seconds if self.worker_seconds else 0.0


class UsageMeter:
    """Record when workers of a pool come and go, and when they are at a job.

    A worker is at a job until it has ended it, or until the pool gives it up: one that hangs is occupied for so long.

    Args:
        now: seconds of the clock by which the pool waits.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self._levels: list[tuple[float, int]] = [(now(), 0)]  # since when there were how many workers
        self._running: dict[Hashable, float] = {}
        self._ended: list[Interval] = []

    def set_workers(self, number: int) -> None:
        """Record how many workers there are from now on."""
        assert number >= len(self._running), "a worker that leaves has to end its job first"
        if number != self._levels[-1][1]:
            self._levels.append((self.now(), number))

    def begin(self, job: Hashable) -> None:
        """Record that a worker begins a job now."""
        assert job not in self._running and len(self._running) < self._levels[-1][1], "no worker is free"
        self._running[job] = self.now()

    def end(self, job: Hashable, seconds: float = float("inf")) -> None:
        """Record that a worker is free again, which was at the job for so long, at most until now."""
        begun = self._running.pop(job)
        self._ended.append((begun, min(self.now(), begun + seconds)))

    def read(self, since: float) -> Usage:
        """Return the usage between a moment and now."""
        now = self.now()
        intervals = [*self._ended, *((begun, now) for begun in self._running.values())]
        return measure_usage(self._levels, intervals, since, now)


def measure_usage(levels: Sequence[tuple[float, int]], jobs: Iterable[Interval], since: float, until: float) -> Usage:
    """Return the usage between two moments.

    Args:
        levels: since when there were how many workers, in order of time.
        jobs: when workers were at a job, in any order, overlapping where several were.
    """
    begins = [begin for begin, _ in levels]
    first = max(0, bisect_right(begins, since) - 1)
    ends = [*begins[first + 1 :], until]
    spans = [
        (max(0.0, min(end, until) - max(begin, since)), number)
        for (begin, number), end in zip(levels[first:], ends, strict=True)
    ]
    clipped = [(max(begin, since), min(end, until)) for begin, end in jobs if begin < until and end > since]
    return Usage(
        seconds=until - since,
        workers=max(number for _, number in levels[first:]),
        worker_seconds=sum(seconds * number for seconds, number in spans),
        busy_seconds=sum(end - begin for begin, end in clipped),
        idle_seconds=max(0.0, until - since - covered(clipped)),
    )


def covered(intervals: Iterable[Interval]) -> float:
    """Return the length of the union of intervals."""
    total, reached = 0.0, -float("inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total
