"""Ray actors that live for the whole run, one proxy at a time each; the death of one does not end the run."""

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, OutOfMemoryError, RayError, RayTaskError

from star.records import Evaluation, Status, Task
from star.workers.pool import Evaluate, Result, Weights
from star.workers.session import connected

ATTEMPTS = 2  # at a task whose worker dies: an operator that kills its process must not do so for ever
START_SECONDS = 300.0
REASON_LENGTH = 300

_Waiting = deque[tuple[Task, int]]  # tasks, and which attempt at them comes next


class _Worker:
    """The actor. What `evaluate` imports is imported when the actor starts, and the corpus comes with it."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate

    def wake(self) -> None:
        """Return once the actor has started."""

    def run(self, task: Task) -> tuple[Evaluation, Weights]:
        return self._evaluate(task)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What a worker is at: its attempt at a task, or waking up if there is none."""

    worker: ActorHandle
    task: Task | None
    attempt: int
    begun: float
    limit: float

    @property
    def remaining(self) -> float:
        return self.begun + self.limit - time.monotonic()


class RayPool:
    """Evaluates tasks on Ray actors: a Pool whose tasks may crash, hang or use up the memory.

    A task whose worker dies is tried once more on a fresh one, then reported as CRASHED (OUT_OF_MEMORY if Ray
    ended the worker for that). One that takes longer than `timeout` seconds is ended and reported as TIMEOUT.

    Args:
        evaluate: what a worker does with a task; sent once, with all that it holds, through the object store.
        num_workers: actors; None takes one for each core there is.
        address: of a running Ray cluster; empty begins a private one on this machine, ended with the pool.
        timeout: seconds for one task; 0 sets no limit.
        store_bytes: what `evaluate` holds, so that the private object store has room for it.

    Raises:
        UserError: on entering, if no cluster answers or it has fewer cores than workers.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        num_workers: int | None = None,
        address: str = "",
        timeout: float = 0.0,
        store_bytes: int = 0,
    ) -> None:
        self.num_workers = num_workers or 0
        self._evaluate = evaluate
        self._timeout = timeout or math.inf
        self._session = connected(address, num_workers, store_bytes)
        self._jobs: dict[ray.ObjectRef, _Job] = {}
        self._idle: list[ActorHandle] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.num_workers = stack.enter_context(self._session)
            stack.callback(self._end_workers)
            self._shared = ray.put(self._evaluate)
            for _ in range(self.num_workers):
                self._start_worker()
            while self._jobs:
                assert not list(self._settle(deque()))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def run(self, tasks: Sequence[Task]) -> Iterator[Result]:
        """See Pool."""
        waiting: _Waiting = deque((task, 1) for task in tasks)
        self._feed(waiting)
        while any(job.task for job in self._jobs.values()) or waiting:
            results = list(self._settle(waiting))
            self._feed(waiting)  # before the results are looked at, so that no worker waits for that
            yield from results

    def _feed(self, waiting: _Waiting) -> None:
        while waiting and self._idle:
            worker = self._idle.pop()
            task, attempt = waiting.popleft()
            self._watch(worker.run.remote(task), worker, task, attempt, self._timeout)

    def _start_worker(self) -> None:
        actor = ray.remote(_Worker).options(num_cpus=1)
        worker = actor.remote(self._shared)
        self._watch(worker.wake.remote(), worker, None, 1, START_SECONDS)

    def _watch(self, ref: ray.ObjectRef, worker: ActorHandle, task: Task | None, attempt: int, limit: float) -> None:
        begun = time.monotonic()
        self._jobs[ref] = _Job(worker=worker, task=task, attempt=attempt, begun=begun, limit=limit)

    def _settle(self, waiting: _Waiting) -> Iterator[Result]:
        """Wait for a job to end, in whatever way; give the results, free or replace the workers."""
        patience = min(job.remaining for job in self._jobs.values())
        ready, _ = ray.wait(list(self._jobs), timeout=None if patience == math.inf else max(0.0, patience))
        for ref in ready or [ref for ref, job in self._jobs.items() if job.remaining <= 0]:
            job = self._jobs.pop(ref)
            try:
                outcome = ray.get(ref, timeout=None if ready else 0)
            except RayError as error:
                yield from self._bury(job, error, waiting)
                continue
            self._idle.append(job.worker)
            if job.task:
                yield job.task, *outcome

    def _bury(self, job: _Job, error: RayError, waiting: _Waiting) -> Iterator[Result]:
        """End a worker that died, hangs or is broken; try its task again or give it up."""
        ray.kill(job.worker)
        status, reason = _judge(error, job)
        if job.task is None:
            raise RuntimeError(f"a worker could not start: {reason}")
        self._start_worker()
        if status is Status.CRASHED and job.attempt < ATTEMPTS:
            waiting.appendleft((job.task, job.attempt + 1))
            return
        seconds = time.monotonic() - job.begun
        yield job.task, Evaluation(hash=job.task.hash, status=status, seconds=seconds, error=reason), {}

    def _end_workers(self) -> None:
        if not ray.is_initialized():  # for Ray would then begin anew to obey us
            return
        for worker in (*self._idle, *(job.worker for job in self._jobs.values())):
            ray.kill(worker)


def _judge(error: RayError, job: _Job) -> tuple[Status, str]:
    if isinstance(error, GetTimeoutError):
        return Status.TIMEOUT, f"stopped after {job.limit:g} seconds"
    if isinstance(error, RayTaskError):
        return Status.FAILED, _one_line(error.cause)
    if isinstance(error, OutOfMemoryError) or "OUT_OF_MEMORY" in str(error):
        return Status.OUT_OF_MEMORY, _one_line(error)
    return Status.CRASHED, f"its worker died {job.attempt} times: {_one_line(error)}"


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:REASON_LENGTH]
