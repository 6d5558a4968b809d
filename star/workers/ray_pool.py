"""A pool of Ray actors that live for the whole run and evaluate one proxy at a time each.

Neither the death of an actor nor that of a machine ends the run: what dies is replaced where there is room, and the job
that it had is tried again within bounds.
"""

import math
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Self

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from star.records import Evaluation, Job, Result
from star.workers import faults
from star.workers.active_clock import active_clock
from star.workers.actor import WorkerInfo
from star.workers.actor_pool import ActorPool, WorkerHandle
from star.workers.crash_log import Evidence, inspect_worker
from star.workers.faults import CAUSES, Fault
from star.workers.placement import Placement
from star.workers.pool import Evaluate
from star.workers.session import connected
from star.workers.usage import UsageMeter

INSPECTION_SECONDS = 60.0  # in which Ray notices that a machine is gone, if it is
GATHER_SECONDS = 10.0  # that other workers have to join the first before jobs begin


@dataclass(slots=True, kw_only=True)
class InFlight:
    """A job at a worker."""

    handle: WorkerHandle
    job: Job
    begun: float
    limit: float  # seconds that it may take
    excused: float = 0.0  # seconds beyond these, in which its worker was paused
    is_late: bool = False  # and its worker is being inspected

    @property
    def deadline(self) -> float:
        """Return when the job is late; never if that is known already."""
        return math.inf if self.is_late else self.begun + self.limit + self.excused


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A look at a worker, on its machine: one that died of `error`, or one whose job, waited for by `ref`, is late."""

    ref: ray.ObjectRef
    flight: InFlight
    error: RayError | None
    deadline: float


class RayPool:
    """Evaluates jobs on Ray actors: a Pool whose jobs may crash, hang or use up the memory, and whose machines may.

    A job that gave no result is tried again or given up, by its cause, as `star.workers.faults` says; its evaluation
    holds how often it was tried again for each. Time in which this process or the worker of a job was paused does not
    count towards the limit of the job.

    Args:
        evaluate: the function that a worker calls with a job; sent once, with all that it holds.
        placement: how many workers, where, and within which bounds.

    Raises:
        UserError: on entering or in `take`, if no cluster answers, or none does any more, or nothing in it has room.
        RuntimeError: a worker cannot start, for want of a library, say.
    """

    usage: UsageMeter
    _actors: ActorPool

    def __init__(self, evaluate: Evaluate, placement: Placement) -> None:
        self._evaluate = evaluate
        self._placement = placement
        self._stack: ExitStack | None = None  # None outside the context
        self._waiting: deque[Job] = deque()
        self._flights: dict[ray.ObjectRef, InFlight] = {}
        self._inspections: dict[ray.ObjectRef, Inspection] = {}
        self._retries: dict[Job, dict[str, int]] = {}
        self._ended: deque[Result] = deque()
        self._pending = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            head = stack.enter_context(connected(self._placement))
            self._now = stack.enter_context(active_clock())
            self.usage = UsageMeter(self._now)
            self._actors = ActorPool(self._placement, head, ray.put(self._evaluate), self._now)
            stack.callback(self._actors.end)
            while not self._actors:
                self._poll()
            gathered = self._now() + GATHER_SECONDS
            while self._actors.starting and self._now() < gathered:
                self._poll(gathered)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()
        self._stack = None

    @property
    def num_workers(self) -> int:
        """Return the number of workers that have started."""
        return len(self._actors)

    def workers(self) -> list[WorkerInfo]:
        """Return where the workers run."""
        return self._actors.workers()

    @property
    def pending(self) -> int:
        """Return the number of jobs that were submitted and whose results were not taken yet."""
        return self._pending

    def submit(self, job: Job) -> None:
        """Begin a job as soon as a worker is free."""
        assert self._stack, "enter the pool first"
        self._pending += 1
        self._waiting.append(job)
        self._begin_jobs()

    def take(self) -> Result:
        """Wait for a job to end and return its result."""
        assert self._pending, "nothing was submitted"
        while not self._ended:
            self._poll()
            self._begin_jobs()  # before the results are looked at, so that no worker waits for that
        self._pending -= 1
        return self._ended.popleft()

    def _begin_jobs(self) -> None:
        while self._waiting and self._actors.free:
            handle, job = self._actors.free.pop(), self._waiting.popleft()
            ref = handle.actor.run.remote(job)
            self._flights[ref] = InFlight(
                handle=handle, job=job, begun=self._now(), limit=self._placement.timeout * job.times or math.inf
            )
            self.usage.begin(ref)

    def _poll(self, until: float = math.inf) -> None:
        """Wait until a worker has started, a job has ended or is late, or machines are due to be looked at."""
        self._actors.reconcile()
        flights, inspections = self._flights, self._inspections
        deadline = min([until, *(one.deadline for one in (*flights.values(), *inspections.values()))])
        patience = max(0.0, min(deadline - self._now(), self._actors.seconds_until_due))
        for ref in _wait_for([*self._actors.starting, *flights, *inspections], patience):
            if ref in self._actors.starting:
                self._actors.add_started(ref)
            elif ref in flights:
                self._end(ref)
            else:
                self._conclude(ref)
        now = self._now()
        for ref in [ref for ref, one in flights.items() if one.deadline <= now]:
            if _wait_for([ref], 0.0):
                self._end(ref)
            else:
                flights[ref].is_late = True
                self._inspect(ref, flights[ref], None)
        for ref in [ref for ref, one in inspections.items() if one.deadline <= now]:
            self._conclude(ref)
        self.usage.set_workers(len(self._actors))

    def _end(self, ref: ray.ObjectRef) -> None:
        """Take what came of a job: a result, or an error of Ray."""
        flight = self._flights.pop(ref)
        try:
            result, seconds = ray.get(ref)
        except RayError as error:
            self.usage.end(ref)
            self._fail(flight, ref, error)
            return
        self.usage.end(ref, seconds)
        if fault := faults.find_fault(result):
            self._actors.dismiss(flight.handle)
            self._retry(flight, fault)
            return
        self._actors.free.append(flight.handle)
        if retries := self._retries.pop(flight.job, None):
            result = replace(result, evaluation=replace(result.evaluation, retries=retries))
        self._ended.append(result)

    def _fail(self, flight: InFlight, ref: ray.ObjectRef, error: RayError) -> None:
        if isinstance(error, RayTaskError):  # it came from the job, and the worker lives
            self._actors.free.append(flight.handle)
        else:
            self._actors.dismiss(flight.handle)
        if fault := faults.diagnose_error(error):
            self._retry(flight, fault)
        elif self._actors.is_reachable(flight.handle):
            self._inspect(ref, flight, error)
        else:
            self._retry(flight, Fault("node lost", faults.last_sentence(error)))

    def _inspect(self, ref: ray.ObjectRef, flight: InFlight, error: RayError | None) -> None:
        """Begin to inspect a worker, on its machine: one that died of this error, or one that is late."""
        info = flight.handle.info
        place = NodeAffinitySchedulingStrategy(info.node, soft=False)
        inspect = ray.remote(inspect_worker).options(num_cpus=0, max_retries=0, scheduling_strategy=place)
        inspection = Inspection(ref=ref, flight=flight, error=error, deadline=self._now() + INSPECTION_SECONDS)
        self._inspections[inspect.remote(info.crash_log, info.pid, error is None)] = inspection

    def _conclude(self, ref: ray.ObjectRef) -> None:
        """Draw the conclusion from an inspection that has ended, or whose time is over."""
        inspection = self._inspections.pop(ref)
        flight, evidence = inspection.flight, _find_evidence(ref)
        if inspection.error:
            self._retry(flight, faults.diagnose_death(inspection.error, flight.handle.info.pid, evidence))
        elif inspection.ref in self._flights:  # else its job has ended meanwhile
            if fault := faults.diagnose_delay(evidence, flight.limit, flight.excused):
                del self._flights[inspection.ref]
                self.usage.end(inspection.ref)
                self._actors.dismiss(flight.handle)
                self._retry(flight, fault)
            else:
                flight.excused, flight.is_late = evidence.paused, False

    def _retry(self, flight: InFlight, fault: Fault) -> None:
        """Try a job again after a fault, or give it up."""
        job = flight.job
        retries = self._retries.setdefault(job, {})
        if not faults.is_hopeless(fault, retries, self._placement.tries):
            retries[fault.cause] = retries.get(fault.cause, 0) + 1
            self._waiting.appendleft(job)
            return
        del self._retries[job]
        evaluation = Evaluation(
            hash=job.task.hash,
            status=CAUSES[fault.cause].status,
            seconds=self._now() - flight.begun,
            worker=flight.handle.info.name,
            error=faults.describe(fault, retries),
            retries=retries,
        )
        self._ended.append(Result(task=job.task, evaluation=evaluation))


def _wait_for(refs: list[ray.ObjectRef], seconds: float) -> list[ray.ObjectRef]:
    """Return the first of these that is ready within so many seconds, if there is one."""
    if refs:
        return ray.wait(refs, timeout=seconds)[0]
    time.sleep(seconds)
    return []


def _find_evidence(ref: ray.ObjectRef) -> Evidence | None:
    """Return what an inspection found; None if it has not ended."""
    try:
        return ray.get(ref, timeout=0)
    except RayTaskError:  # the machine is there, the crash log is not
        return Evidence("unreadable")
    except RayError:
        return None
