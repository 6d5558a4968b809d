"""Training that takes no time and still has all that a real one has: rungs, a curve, costs, and losses that diverge on
the way. Drivers of runs that use it, one of them made to be killed."""

import os
import signal
import sys
from pathlib import Path

import numpy as np

from star.records import Evaluation, Job, Result, Status
from star.run.reuse import curve_length
from star.run.settings import Settings
from support.driver import TOUCHES, drive
from support.runs import Driver
from support.tiny import ORIGIN

UNTIL_BURST = 7  # one genome in so many diverges in any one stretch between rungs


def pretend(job: Job, settings, corpus) -> Result:
    """In place of `evaluate`: all that is drawn follows from the seed, and what a rung shows from nothing later."""
    task, recipe, stops = job.task, settings.scale.recipe, settings.rungs
    rng = np.random.default_rng(task.seed)
    bursts, quality, drift = rng.integers(UNTIL_BURST), 2 + rng.random(), rng.random()
    curve = tuple(rng.random(32))
    reached = len(stops) if job.until is None else job.until
    if bursts <= reached:
        evaluation = Evaluation(hash=task.hash, status=Status.DIVERGED, error=f"Diverged in stretch {bursts}")
        return Result(task=task, origin=ORIGIN, evaluation=evaluation)
    rungs = tuple(quality + drift * (1 - stop / recipe.steps) for stop in stops[: reached + (job.until is not None)])
    steps = recipe.steps if job.until is None else stops[job.until]
    objectives = {"quality_bpb": quality if job.until is None else rungs[-1]} | settings.target.count(
        task.genome
    ).columns()
    evaluation = Evaluation(
        hash=task.hash,
        status=Status.OK if job.until is None else Status.STOPPED,
        objectives=objectives,
        loss_curve=curve[: curve_length(recipe.steps, steps)],
        rungs=rungs,
        tokens=steps * recipe.batch_size * recipe.seq_len,
        seconds=1.0,
        worker="pretended",
    )
    if job.until is not None:
        return Result(task=task, origin=ORIGIN, evaluation=evaluation, state={"rungs": np.array(rungs)})
    return Result(task=task, origin=ORIGIN, evaluation=evaluation, weights={"w": rng.random(4, dtype=np.float32)})


def drive_pretended(path: Path, config: Settings) -> None:
    """Begin the run, or continue it."""
    drive(path, config, Driver(pretend))


def die_pretended(touch: int, path: Path, config: Settings) -> None:
    """The same by a process that kills itself just before it touches anything beginning with that path, the store's
    among it, for the `touch`-th time."""
    touched = 0

    def count(event: str, arguments: tuple) -> None:
        nonlocal touched
        if event in TOUCHES | {"os.link"} and str(arguments[0]).startswith(str(path)):
            touched += 1
            if touched == touch:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    drive_pretended(path, config)
