"""What runs on a worker: the actor, the bound on its memory, and the notes that outlive it."""

import faulthandler
import os
import platform
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import ray
import torch

from star.process import read_memory
from star.records import Job, Result
from star.workers.placement import Placement
from star.workers.pool import Evaluate


class Home(NamedTuple):
    """Where a worker lives: Ray's name of the node, the process there, the file of its notes."""

    node: str
    host: str
    pid: int
    notes: str

    @property
    def name(self) -> str:
        """As evaluations name their worker."""
        return f"{self.host}:{self.pid}"


class Notes:
    """A file in the directory of Ray's logs: empty between jobs, else the hash of the job, and after it what
    `faulthandler` had to say if a signal ended the process. Whoever finds a worker dead learns from it whether a job
    had begun, and whether it crashed or was killed, which Ray cannot tell."""

    def __init__(self) -> None:
        context = ray.get_runtime_context()
        folder = Path(context.get_temp_dir(), context.get_session_name(), "logs")
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"star-{context.get_worker_id()}.notes"
        self._file = self.path.open("ab", buffering=0)
        faulthandler.enable(self._file, all_threads=False)

    def begin(self, hash: str) -> None:
        """Note that a job begins."""
        self._file.write(f"{hash}\n".encode())

    def end(self) -> None:
        """Note that it came to its end."""
        self._file.truncate(0)


class Worker:
    """The actor. What `evaluate` imports is imported when the actor starts, and the corpus comes with it."""

    def __init__(self, evaluate: Evaluate, placement: Placement) -> None:
        self._evaluate = evaluate
        self._node = ray.get_runtime_context().get_node_id()
        self._notes = Notes()
        self._memory = 0.0  # a driver of CUDA maps more than it uses: there it is not bounded
        if placement.gpus_per_worker:
            torch.cuda.set_per_process_memory_fraction(min(1.0, placement.gpus_per_worker))
        else:
            resources = next(node["Resources"] for node in ray.nodes() if node["NodeID"] == self._node)
            self._memory = placement.memory(resources)

    def wake(self) -> Home:
        """Tell where the actor lives, once it has started."""
        return Home(self._node, platform.node(), os.getpid(), str(self._notes.path))

    def run(self, job: Job) -> Result:
        """Evaluate one job."""
        self._notes.begin(job.task.hash)
        try:
            with bounded(self._memory):
                result = self._evaluate(job)
        except Exception:  # not what ends this process: that is for the notes to tell
            self._notes.end()
            raise
        self._notes.end()
        return result


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
