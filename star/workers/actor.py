"""The Ray actor that evaluates jobs, and the bound on its memory."""

import os
import platform
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import ray

from star.cost.process import read_memory
from star.records import Job, Result
from star.workers.crash_log import CrashLog
from star.workers.placement import Placement
from star.workers.pool import Evaluate


class WorkerInfo(NamedTuple):
    """The place of a worker: Ray's name of the node, the process there, and the path of its crash log."""

    node: str
    host: str
    pid: int
    crash_log: str

    @property
    def name(self) -> str:
        """Return the worker's name in evaluations."""
        return f"{self.host}:{self.pid}"


class Worker:
    """The actor. All that `evaluate` imports is imported when the actor starts, and the corpus comes with it."""

    def __init__(self, evaluate: Evaluate, placement: Placement) -> None:
        context = ray.get_runtime_context()
        self._evaluate = evaluate
        self._node = context.get_node_id()
        logs = Path(context.get_temp_dir(), context.get_session_name(), "logs")
        self._path = logs / f"star-{context.get_worker_id()}.crash"
        self._log = CrashLog(self._path)
        self._memory = 0.0  # a driver of CUDA maps more than it uses: there it is not bounded
        if placement.gpus_per_worker:
            import torch  # takes seconds, and a worker without a GPU may do without

            torch.cuda.set_per_process_memory_fraction(min(1.0, placement.gpus_per_worker))
        else:
            resources = next(node["Resources"] for node in ray.nodes() if node["NodeID"] == self._node)
            self._memory = placement.memory(resources)

    def info(self) -> WorkerInfo:
        """Return where the actor runs, once it has started."""
        return WorkerInfo(self._node, platform.node(), os.getpid(), str(self._path))

    def run(self, job: Job) -> tuple[Result, float]:
        """Evaluate one job. Return its result and the seconds that this took."""
        begun = time.perf_counter()
        with self._log.job(job.task.hash), bounded(self._memory):
            result = self._evaluate(job)
        return result, time.perf_counter() - begun


@contextmanager
def bounded(memory: float) -> Iterator[None]:
    """Let this process use `memory` bytes of its own, where the system can hold it to that; 0: no bound.

    RLIMIT_DATA counts what is reserved, touched or not, so that what was reserved without use before (stacks of
    threads, arenas) comes on top. Shared memory, in which Ray keeps objects, does not count. An allocation beyond the
    bound fails in this process as a MemoryError, or as torch's and numpy's own, and harms no other.
    """
    stated = read_memory("VmData", "RssAnon")
    if not memory or not stated:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    reserved, used = stated
    most = reserved - used + int(memory)
    if before[1] != resource.RLIM_INFINITY:
        most = min(most, before[1])
    resource.setrlimit(resource.RLIMIT_DATA, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
