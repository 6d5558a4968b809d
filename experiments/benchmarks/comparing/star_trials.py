"""The time per trial of a whole star run whose trainings take no time."""

import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

from comparing.setting import COLUMNS, CONFIG, WORKERS
from star.options import to_toml
from star.records import Evaluation, Job, Result, Status
from star.run.opening import open_search
from star.run.plan import plan_run
from star.run.progress import Progress
from star.run.settings import Settings
from star.run.summary import Clock
from star.storage.run_directory import RunDirectory
from star.workers.placement import Placement
from star.workers.pool import Pool, SerialPool
from star.workers.ray_pool import RayPool


def nothing(job: Job) -> Result:
    """Return invented objectives that depend only on the genome."""
    values = np.random.default_rng(job.task.seed).random(len(COLUMNS))
    objectives = dict(zip(COLUMNS, values.tolist(), strict=True))
    evaluation = Evaluation(hash=job.task.hash, status=Status.OK, objectives=objectives, tokens=1)
    return Result(task=job.task, evaluation=evaluation, weights={"none": np.zeros(1)})


def configure(trials: int) -> Settings:
    """Return a run with that many trials, a multiple of the population."""
    assert trials % CONFIG.population == 0, trials
    return replace(CONFIG, generations=trials // CONFIG.population - 1)


def time_run(pool: Pool, trials: int) -> float:
    """Return seconds per trial of a whole run that is written to disk as by `star evolve`."""
    config = configure(trials)
    with tempfile.TemporaryDirectory() as folder, RunDirectory(Path(folder) / "run") as run:
        run.create(to_toml(config, {"corpus_digest": ""}))
        started = perf_counter()
        open_search(plan_run(config), run, Clock(), Progress()).finish(pool)
        return (perf_counter() - started) / trials


def time_serial(trials: int) -> float:
    """Return seconds per trial in this process."""
    return time_run(SerialPool(nothing), trials)


def time_on_ray(trials: int) -> float:
    """Return seconds per trial on two Ray actors, without their start."""
    with RayPool(nothing, Placement(workers=WORKERS)) as pool:
        return time_run(pool, trials)
