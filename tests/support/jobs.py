"""Jobs that do to a worker what their name says, and pools that are asked for all of them.

Importing this imports no torch, which takes seconds: workers that train have it from what they train with.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from star.records import Evaluation, Job, Result, Status, Task
from star.workers.pool import Evaluate

MEMORY = 1 << 30
CHUNK = 32 << 20


def act(job: Job, folder: Path, train: Evaluate | None = None) -> Result:
    """Do what the task's hash says, `train` if that is a true hash, and leave a file for each attempt."""
    task = job.task
    attempt = attempts(folder, task.hash)
    (folder / f"{task.hash}.{attempt}.{os.getpid()}").touch()
    doing = task.hash.partition("-")[0]
    if doing.endswith("once"):
        doing = doing.removesuffix("once") if attempt == 0 else "ok"
    status, error = Status.OK, ""
    match doing:
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            sys.exit(3)
        case "hang":
            time.sleep(1000)
        case "raise":
            raise ValueError("something went\nwrong")
        case "device":
            status, error = Status.FAILED, "RuntimeError: CUDA error: an illegal memory access was encountered"
        case "nan":
            status, error = Status.DIVERGED, "Diverged: validation loss is nan"
        case "eat" | "eattorch":
            status, error = eat(doing)
        case "nap":
            time.sleep(0.5)
        case "toil":
            for _ in range(40):  # 4 seconds in which the process runs: one long sleep would go on while it is stopped
                time.sleep(0.1)
    if task.genome:
        return train(job)
    evaluation = Evaluation(hash=task.hash, status=status, worker=str(os.getpid()), error=error)
    return Result(task=task, evaluation=evaluation, weights={"w": np.full(3, task.seed)} if not error else {})


def eat(doing: str) -> tuple[Status, str]:
    """Take memory, touched, until there is no more, and end as an evaluation would."""
    import torch

    from star.evaluation.evaluate import classify, describe

    make, dtype = (torch.ones, torch.float64) if doing == "eattorch" else (np.ones, np.float64)
    eaten = []
    try:
        while len(eaten) * CHUNK < 4 * MEMORY:
            eaten.append(make(CHUNK // 8, dtype=dtype))
    except Exception as error:
        count = len(eaten)
        eaten.clear()
        return classify(error), f"{describe(error)} after {count} chunks"
    return Status.OK, ""


def collect(pool, jobs: Iterable[Job]) -> dict[str, Result]:
    """Give the results of all jobs, by hash, in the order in which they came: one for each."""
    jobs = list(jobs)
    for job in jobs:
        pool.submit(job)
    results = []
    while pool.pending:
        results.append(pool.take())
    assert len(results) == len(jobs)
    by_hash = {result.task.hash: result for result in results}
    assert by_hash.keys() == {job.task.hash for job in jobs}
    assert all(result.evaluation.hash == hash for hash, result in by_hash.items())
    return by_hash


def check_planted(planted: dict[str, tuple], results: dict[str, Result], folder: Path) -> None:
    """Check that jobs ended as planted: a status, attempts, retries, and a part of the reason for each name."""
    for name, (status, tries, retries, reason) in planted.items():
        one = results[name].evaluation
        assert (one.status, one.retries) == (status, retries), (name, one)
        assert attempts(folder, name) == tries, name
        assert reason in one.error and "\n" not in one.error, one.error
        assert ("given up after" in one.error) == (status is not Status.OK and tries > 1)
        assert bool(results[name].weights) == (status is Status.OK)


def attempts(folder: Path, name: str) -> int:
    """Count how often a job was begun."""
    return len(list(folder.glob(f"{name}.*")))


def jobs_named(*names: str) -> list[Job]:
    """Make a job of each name."""
    return [Job(task=Task(genome=(), hash=name, seed=seed)) for seed, name in enumerate(names)]


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    """Wait until the condition holds, and tell whether it does at last."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())
