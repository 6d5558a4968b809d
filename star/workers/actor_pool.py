"""The actors of a pool: started where machines have room, dropped when their machines are gone."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

from star.errors import UserError
from star.workers.actor import Worker, WorkerInfo
from star.workers.address import Head
from star.workers.faults import one_line
from star.workers.placement import Placement

START_SECONDS = 300.0  # without a single worker, after which none is expected any more
HEAD_SECONDS = 30.0  # without an answer from the head of the cluster; Ray ends this process after 60
RECONCILE_SECONDS = 2.0  # between two looks at the machines
RESTART_SECONDS = 10.0  # before another worker takes the place of one that failed to start


@dataclass(eq=False, slots=True)
class WorkerHandle:
    """A worker that has started."""

    actor: ActorHandle
    info: WorkerInfo


class ActorPool:
    """The workers of a pool.

    With a number of workers in the placement, those for which there is no room wait for it. Without one, there are as
    many as the machines of the cluster hold at any moment, and at least one that waits.

    Args:
        placement: how many workers, where, and within which bounds.
        head: of the cluster.
        evaluate: a reference to the function that the workers call, in the object store.
        now: seconds of the clock by which all waiting is measured.

    Attributes:
        free: workers without a job.
        starting: actors that have not started yet, by the reference to wait for.
    """

    def __init__(
        self, placement: Placement, head: Head, evaluate: ray.ObjectRef, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.free: list[WorkerHandle] = []
        self.starting: dict[ray.ObjectRef, ActorHandle] = {}
        self._placement, self._head, self._evaluate, self._now = placement, head, evaluate, now
        self._started: set[WorkerHandle] = set()
        self._failed_starts: deque[float] = deque()  # when they failed
        self._last_worker_at = self._last_head_at = now()
        self._reconcile_at = -math.inf
        self._had_any = False

    def __len__(self) -> int:
        """Return the number of workers that have started."""
        return len(self._started)

    @property
    def seconds_until_due(self) -> float:
        """Return the seconds after which `reconcile` does something."""
        return max(0.0, self._reconcile_at - self._now())

    def workers(self) -> list[WorkerInfo]:
        """Return where the workers run."""
        return [handle.info for handle in self._started]

    def reconcile(self) -> None:
        """Compare the workers with the machines that there are, every RECONCILE_SECONDS: drop free workers whose
        machines are gone, and start as many as there is room for.

        Raises:
            UserError: the head was silent, or there was no room for a worker, for too long.
        """
        now = self._now()
        if now < self._reconcile_at:
            return
        self._reconcile_at = now + RECONCILE_SECONDS
        nodes = self._find_nodes()
        if nodes is None:
            return
        for handle in [handle for handle in self.free if handle.info.node not in nodes]:
            self.dismiss(handle)
        self._fill(nodes)
        if self._started:
            self._last_worker_at = now
        elif now > self._last_worker_at + START_SECONDS:
            raise UserError(
                f"the Ray cluster has had room for no worker in {START_SECONDS:g} seconds: each takes "
                f"{self._placement.describe()}"
            )

    def _find_nodes(self) -> dict[str, dict[str, float]] | None:
        """Return the resources of every machine there is, by Ray's name for it; None while the head is silent."""
        if self._head.answers():
            self._last_head_at = self._now()
            return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
        if self._now() > self._last_head_at + HEAD_SECONDS:
            raise UserError(
                f"the head of the Ray cluster at {self._head} has been silent for {HEAD_SECONDS:g} seconds: "
                "the run can be resumed once there is a cluster again"
            )
        return None

    def _fill(self, nodes: dict[str, dict[str, float]]) -> None:
        """Start the workers that are missing, or end those that wait for a machine that is gone."""
        room = sum(self._placement.room(resources) for resources in nodes.values())
        wanted = self._placement.workers or max(1, room)
        while self._failed_starts and self._failed_starts[0] < self._now() - RESTART_SECONDS:
            self._failed_starts.popleft()
        missing = wanted - len(self._started) - len(self.starting) - len(self._failed_starts)
        for _ in range(missing):
            self._start()
        for ref in list(self.starting)[: max(0, -missing)]:
            ray.kill(self.starting.pop(ref))

    def _start(self) -> None:
        options = {"num_cpus": 1, "num_gpus": self._placement.gpus_per_worker, "max_restarts": 0, "max_task_retries": 0}
        if self._placement.worker_memory:
            options["memory"] = int(self._placement.worker_memory)
        actor = ray.remote(Worker).options(**options).remote(self._evaluate, self._placement)
        self.starting[actor.info.remote()] = actor

    def add_started(self, ref: ray.ObjectRef) -> None:
        """Add the worker of `starting` whose reference is ready.

        Raises:
            RuntimeError: it could not start, and no other ever could.
        """
        actor = self.starting.pop(ref)
        try:
            handle = WorkerHandle(actor, ray.get(ref))
        except RayError as error:
            self._failed_starts.append(self._now())
            if not self._had_any and not self.starting:
                raise RuntimeError(f"a worker could not start: {one_line(error)}") from error
            return
        self._had_any = True
        self._started.add(handle)
        self.free.append(handle)

    def is_reachable(self, handle: WorkerHandle) -> bool:
        """Return whether the machine of a worker is known to be there."""
        nodes = self._find_nodes()
        return nodes is not None and handle.info.node in nodes

    def dismiss(self, handle: WorkerHandle) -> None:
        """End a worker that died, hangs or is broken; `reconcile` starts another in its place."""
        ray.kill(handle.actor)
        self._started.discard(handle)
        if handle in self.free:
            self.free.remove(handle)
        self._reconcile_at = -math.inf

    def end(self) -> None:
        """End all workers."""
        if not ray.is_initialized():  # for Ray would then begin anew to obey us
            return
        for actor in (*(handle.actor for handle in self._started), *self.starting.values()):
            ray.kill(actor)
