"""The workers of a pool as the driver knows them: begun where machines have room, missed when those are gone."""

import math
import time
from collections import deque
from dataclasses import dataclass

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

from star.errors import UserError
from star.workers.actor import Home, Worker
from star.workers.faults import one_line
from star.workers.placement import Placement
from star.workers.session import Head

START_SECONDS = 300.0  # without a single worker, after which nobody comes any more
HEAD_SECONDS = 30.0  # without a word from the head of the cluster; Ray ends this process after 60
LOOK_SECONDS = 2.0  # between two looks at the machines
RESTART_SECONDS = 10.0  # before another one takes the place of a worker that could not start


@dataclass(eq=False, slots=True)
class Member:
    """A worker; without a home as long as it starts."""

    actor: ActorHandle
    home: Home | None = None


class Crew:
    """The workers of a pool, `free` those at no job, `starting` those not awake yet, by the reference to wait for.

    With a number of workers in the placement, those for which there is no room wait for it; without one, there are as
    many as the machines of the cluster hold at any moment, and at least one that waits.

    Args:
        placement: how many workers, where, and within which bounds.
        head: of the cluster.
        shared: what the workers begin with: the function `evaluate` in the object store.
    """

    def __init__(self, placement: Placement, head: Head, shared: ray.ObjectRef) -> None:
        self.free: list[Member] = []
        self.starting: dict[ray.ObjectRef, Member] = {}
        self._placement, self._head, self._shared = placement, head, shared
        self._awake: set[Member] = set()
        self._stillborn: deque[float] = deque()  # when workers could not start
        self._manned = self._heard = time.monotonic()  # when there last was a worker, a head
        self._next_look = -math.inf
        self._had_any = False

    def __len__(self) -> int:
        """Workers that are awake."""
        return len(self._awake)

    @property
    def patience(self) -> float:
        """Seconds until the next look is due."""
        return max(0.0, self._next_look - time.monotonic())

    def look(self) -> None:
        """If it is time for it, look which machines there are, miss the workers of those that are gone, and begin as
        many as there is room for. UserError if the head is silent for long, or there was no room for long."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        nodes = self._living()
        if nodes is None:
            return
        for member in [member for member in self.free if member.home.node not in nodes]:
            self.dismiss(member)
        self._recruit(nodes)
        if self._awake:
            self._manned = now
        elif now > self._manned + START_SECONDS:
            raise UserError(
                f"the Ray cluster has had room for no worker in {START_SECONDS:g} seconds: each takes "
                f"{self._placement.describe()}"
            )

    def _living(self) -> dict[str, dict[str, float]] | None:
        """The resources of every machine there is, by Ray's name for it; None while the head is silent."""
        now = time.monotonic()
        if self._head.answers():
            self._heard = now
            return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
        if now > self._heard + HEAD_SECONDS:
            raise UserError(
                f"the head of the Ray cluster at {self._head.address} has been silent for {HEAD_SECONDS:g} seconds: "
                "the run can be resumed once there is a cluster again"
            )
        return None

    def _recruit(self, nodes: dict[str, dict[str, float]]) -> None:
        room = sum(self._placement.room(resources) for resources in nodes.values())
        wanted = self._placement.workers or max(1, room)
        while self._stillborn and self._stillborn[0] < time.monotonic() - RESTART_SECONDS:
            self._stillborn.popleft()
        missing = wanted - len(self._awake) - len(self.starting) - len(self._stillborn)
        for _ in range(missing):
            self._start()
        for ref in list(self.starting)[: max(0, -missing)]:  # they wait for a machine that is gone
            ray.kill(self.starting.pop(ref).actor)

    def _start(self) -> None:
        options = {"num_cpus": 1, "num_gpus": self._placement.gpus_per_worker, "max_restarts": 0, "max_task_retries": 0}
        if self._placement.worker_memory:
            options["memory"] = int(self._placement.worker_memory)
        actor = ray.remote(Worker).options(**options).remote(self._shared, self._placement)
        self.starting[actor.wake.remote()] = Member(actor)

    def welcome(self, ref: ray.ObjectRef) -> None:
        """Take in a worker that was starting. RuntimeError if it could not, and no other ever could."""
        member = self.starting.pop(ref)
        try:
            member.home = ray.get(ref)
        except RayError as error:
            self._stillborn.append(time.monotonic())
            if not self._had_any and not self.starting:
                raise RuntimeError(f"a worker could not start: {one_line(error)}") from error
            return
        self._had_any = True
        self._awake.add(member)
        self.free.append(member)

    def is_reachable(self, member: Member) -> bool:
        """Whether the machine of a worker is known to be there."""
        nodes = self._living()
        return nodes is not None and member.home.node in nodes

    def dismiss(self, member: Member) -> None:
        """End a worker that died, hangs or is broken; the next look begins another in its place."""
        ray.kill(member.actor)
        self._awake.discard(member)
        if member in self.free:
            self.free.remove(member)
        self._next_look = -math.inf

    def end(self) -> None:
        """End all workers."""
        if not ray.is_initialized():  # for Ray would then begin anew to obey us
            return
        for member in (*self._awake, *self.starting.values()):
            ray.kill(member.actor)
