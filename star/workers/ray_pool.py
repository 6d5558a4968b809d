"""Ray actors that live for the whole run, one proxy at a time each; the death of one does not end the run."""

import math
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, OutOfMemoryError, RayError, RayTaskError

from star.records import Evaluation, Job, Result, Status
from star.workers.pool import Evaluate
from star.workers.session import connected

ATTEMPTS = 2  # at a task whose worker dies: an operator that kills its process must not do so for ever
START_SECONDS = 300.0
REASON_LENGTH = 300


class _Worker:
    """The actor. What `evaluate` imports is imported when the actor starts, and the corpus comes with it."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate

    def wake(self) -> None:
        """Return once the actor has started."""

    def run(self, job: Job) -> Result:
        return self._evaluate(job)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """What a worker is at: its attempt at a job, or waking up if there is none."""

    worker: ActorHandle
    job: Job | None
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
        self._waiting: deque[tuple[Job, int]] = deque()  # jobs, and which attempt at them comes next
        self._ended: deque[Result] = deque()
        self._running: dict[ray.ObjectRef, _Attempt] = {}
        self._idle: list[ActorHandle] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.num_workers = stack.enter_context(self._session)
            stack.callback(self._end_workers)
            self._shared = ray.put(self._evaluate)
            for _ in range(self.num_workers):
                self._start_worker()
            while self._running:
                self._settle()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    @property
    def pending(self) -> int:
        """See Pool."""
        return len(self._waiting) + len(self._ended) + sum(one.job is not None for one in self._running.values())

    def submit(self, job: Job) -> None:
        """See Pool."""
        self._waiting.append((job, 1))
        self._feed()

    def take(self) -> Result:
        """See Pool."""
        assert self.pending, "nothing was submitted"
        while not self._ended:
            self._settle()
            self._feed()  # before the results are looked at, so that no worker waits for that
        return self._ended.popleft()

    def _feed(self) -> None:
        while self._waiting and self._idle:
            worker = self._idle.pop()
            job, attempt = self._waiting.popleft()
            self._watch(worker.run.remote(job), worker, job, attempt, self._timeout)

    def _start_worker(self) -> None:
        actor = ray.remote(_Worker).options(num_cpus=1)
        worker = actor.remote(self._shared)
        self._watch(worker.wake.remote(), worker, None, 1, START_SECONDS)

    def _watch(self, ref: ray.ObjectRef, worker: ActorHandle, job: Job | None, attempt: int, limit: float) -> None:
        begun = time.monotonic()
        self._running[ref] = _Attempt(worker=worker, job=job, attempt=attempt, begun=begun, limit=limit)

    def _settle(self) -> None:
        """Wait for an attempt to end, in whatever way; keep the results, free or replace the workers."""
        patience = min(one.remaining for one in self._running.values())
        ready, _ = ray.wait(list(self._running), timeout=None if patience == math.inf else max(0.0, patience))
        for ref in ready or [ref for ref, one in self._running.items() if one.remaining <= 0]:
            attempt = self._running.pop(ref)
            try:
                result = ray.get(ref, timeout=None if ready else 0)
            except RayError as error:
                self._bury(attempt, error)
                continue
            self._idle.append(attempt.worker)
            if attempt.job:
                self._ended.append(result)

    def _bury(self, attempt: _Attempt, error: RayError) -> None:
        """End a worker that died, hangs or is broken; try its job again or give it up."""
        ray.kill(attempt.worker)
        status, reason = _judge(error, attempt)
        if attempt.job is None:
            raise RuntimeError(f"a worker could not start: {reason}")
        self._start_worker()
        if status is Status.CRASHED and attempt.attempt < ATTEMPTS:
            self._waiting.appendleft((attempt.job, attempt.attempt + 1))
            return
        task, seconds = attempt.job.task, time.monotonic() - attempt.begun
        evaluation = Evaluation(hash=task.hash, status=status, seconds=seconds, error=reason)
        self._ended.append(Result(task=task, evaluation=evaluation))

    def _end_workers(self) -> None:
        if not ray.is_initialized():  # for Ray would then begin anew to obey us
            return
        for worker in (*self._idle, *(one.worker for one in self._running.values())):
            ray.kill(worker)


def _judge(error: RayError, attempt: _Attempt) -> tuple[Status, str]:
    if isinstance(error, GetTimeoutError):
        return Status.TIMEOUT, f"stopped after {attempt.limit:g} seconds"
    if isinstance(error, RayTaskError):
        return Status.FAILED, _one_line(error.cause)
    if isinstance(error, OutOfMemoryError) or "OUT_OF_MEMORY" in str(error):
        return Status.OUT_OF_MEMORY, _one_line(error)
    return Status.CRASHED, f"its worker died {attempt.attempt} times: {_one_line(error)}"


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:REASON_LENGTH]
