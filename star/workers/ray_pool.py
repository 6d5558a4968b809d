"""Ray actors that live for the whole run, one proxy at a time each; the death of one does not end the run, nor does
that of a machine: what dies is replaced where there is room, and what it was at is tried again within bounds."""

import math
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from star.records import Evaluation, Job, Result
from star.workers import faults
from star.workers.crew import Crew, Member
from star.workers.faults import CAUSES, Fault
from star.workers.placement import Placement
from star.workers.pool import Evaluate
from star.workers.session import connected

INQUEST_SECONDS = 60.0  # in which Ray notices that a machine is gone, if it is
GATHER_SECONDS = 10.0  # that other workers have to join the first before jobs begin


@dataclass(frozen=True, slots=True, kw_only=True)
class _Errand:
    """A job at a worker, or the inquest into the error that ended both."""

    member: Member
    job: Job
    error: RayError | None = None
    since: float  # when the job began
    begun: float  # when what is waited for began, the job or the inquest
    limit: float

    @property
    def remaining(self) -> float:
        return self.begun + self.limit - time.monotonic()


class RayPool:
    """Evaluates jobs on Ray actors: a Pool whose jobs may crash, hang or use up the memory, and whose machines may.

    A job that gave no result is tried again or given up, by its cause, as `star.workers.faults` says; its evaluation
    holds how often it was tried again for each.

    Args:
        evaluate: what a worker does with a job; sent once, with all that it holds, through the object store.
        placement: how many workers, where, and within which bounds.

    Raises:
        UserError: on entering or in `take`, if no cluster answers, or none does any more, or nothing in it has room.
        RuntimeError: a worker cannot start, for want of a library, say.
    """

    def __init__(self, evaluate: Evaluate, placement: Placement) -> None:
        self._evaluate = evaluate
        self._placement = placement
        self._session = connected(placement)
        self._waiting: deque[Job] = deque()
        self._errands: dict[ray.ObjectRef, _Errand] = {}
        self._retries: dict[Job, dict[str, int]] = {}
        self._ended: deque[Result] = deque()
        self._pending = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            head = stack.enter_context(self._session)
            self._crew = Crew(self._placement, head, ray.put(self._evaluate))
            stack.callback(self._crew.end)
            while not self._crew:
                self._settle()
            gathered = time.monotonic() + GATHER_SECONDS
            while self._crew.starting and time.monotonic() < gathered:
                self._settle(gathered - time.monotonic())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    @property
    def num_workers(self) -> int:
        """See Pool."""
        return len(self._crew)

    @property
    def pending(self) -> int:
        """See Pool."""
        return self._pending

    def submit(self, job: Job) -> None:
        """See Pool."""
        self._pending += 1
        self._waiting.append(job)
        self._feed()

    def take(self) -> Result:
        """See Pool."""
        assert self._pending, "nothing was submitted"
        while not self._ended:
            self._settle()
            self._feed()  # before the results are looked at, so that no worker waits for that
        self._pending -= 1
        return self._ended.popleft()

    def _feed(self) -> None:
        while self._waiting and self._crew.free:
            member, job = self._crew.free.pop(), self._waiting.popleft()
            limit, now = self._placement.timeout or math.inf, time.monotonic()
            errand = _Errand(member=member, job=job, since=now, begun=now, limit=limit)
            self._errands[member.actor.run.remote(job)] = errand

    def _settle(self, patience: float = math.inf) -> None:
        """Wait until a worker wakes up or an errand ends, in whatever way, or the machines are to be looked at."""
        self._crew.look()
        waits = [errand.remaining for errand in self._errands.values()]
        patience = max(0.0, min(patience, self._crew.patience, *waits))
        refs = [*self._crew.starting, *self._errands]
        if not refs:
            time.sleep(patience)
            return
        ready, _ = ray.wait(refs, timeout=patience)
        late = [ref for ref, errand in self._errands.items() if errand.remaining <= 0 and ref not in ready]
        for ref in [*ready, *late]:
            if ref in self._crew.starting:
                self._crew.welcome(ref)
                continue
            errand = self._errands.pop(ref)
            try:
                value = ray.get(ref, timeout=None if ref in ready else 0)
            except RayError as error:
                self._fail(errand, error)
            else:
                self._succeed(errand, value)

    def _succeed(self, errand: _Errand, value: Result | str) -> None:
        if errand.error:
            self._retry(errand, faults.hold_inquest(errand.error, errand.member.home.pid, value))
        elif fault := faults.find_fault(value):
            self._crew.dismiss(errand.member)
            self._retry(errand, fault)
        else:
            self._crew.free.append(errand.member)
            if retries := self._retries.pop(errand.job, None):
                value = replace(value, evaluation=replace(value.evaluation, retries=retries))
            self._ended.append(value)

    def _fail(self, errand: _Errand, error: RayError) -> None:
        if errand.error:  # there are no notes, or no machine that could have them
            notes = "none" if isinstance(error, RayTaskError) else None
            self._retry(errand, faults.hold_inquest(errand.error, errand.member.home.pid, notes))
            return
        if isinstance(error, RayTaskError):  # it came from the job, and the worker lives
            self._crew.free.append(errand.member)
        else:
            self._crew.dismiss(errand.member)
        if fault := faults.judge(error, errand.limit):
            self._retry(errand, fault)
        elif self._crew.is_reachable(errand.member):
            self._inquire(errand, error)
        else:
            self._retry(errand, Fault("node lost", faults.last_sentence(error)))

    def _inquire(self, errand: _Errand, error: RayError) -> None:
        """Have the notes of a dead worker read on its machine."""
        home = errand.member.home
        place = NodeAffinitySchedulingStrategy(home.node, soft=False)
        # Of the standard library: what is named in this package would import all of it there.
        read = ray.remote(Path.read_text).options(num_cpus=0, max_retries=0, scheduling_strategy=place)
        inquest = replace(errand, error=error, begun=time.monotonic(), limit=INQUEST_SECONDS)
        self._errands[read.remote(Path(home.notes), errors="replace")] = inquest

    def _retry(self, errand: _Errand, fault: Fault) -> None:
        """Try a job again for that, or give it up."""
        retries = self._retries.setdefault(errand.job, {})
        if not faults.is_hopeless(fault, retries, self._placement.tries):
            retries[fault.cause] = retries.get(fault.cause, 0) + 1
            self._waiting.appendleft(errand.job)
            return
        del self._retries[errand.job]
        evaluation = Evaluation(
            hash=errand.job.task.hash,
            status=CAUSES[fault.cause].status,
            seconds=time.monotonic() - errand.since,
            worker=errand.member.home.name,
            error=faults.describe(fault, retries),
            retries=retries,
        )
        self._ended.append(Result(task=errand.job.task, evaluation=evaluation))
