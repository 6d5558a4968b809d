"""The same with Ray Tune, which draws genomes at random here: what is timed is how it runs trials. Needs `bench`."""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np  # noqa: E402
import ray  # noqa: E402
from ray import tune  # noqa: E402

from comparing.setting import BOUNDS, COLUMNS, NAMES, WORKERS  # noqa: E402

SPACE = {name: tune.randint(low, high + 1) for name, (low, high) in zip(NAMES, BOUNDS, strict=True)}


def nothing(config: dict[str, int]) -> dict[str, float]:
    """Invented objectives, that depend on the genome alone."""
    genome = [config[name] for name in NAMES]
    return dict(zip(COLUMNS, np.random.default_rng(genome).random(len(COLUMNS)).tolist(), strict=True))


@contextmanager
def ray_running() -> Iterator[None]:
    """A private Ray with as many cores as there are workers."""
    ray.init("local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def time_fresh_actors(trials: int) -> float:
    """Seconds a trial, with an actor for each, as is the default; starting Ray is not counted."""
    return _time(trials, reuses=False)


def time_reused_actors(trials: int) -> float:
    """With actors that are reused."""
    return _time(trials, reuses=True)


def _time(trials: int, reuses: bool) -> float:
    with ray_running(), tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            nothing,
            param_space=SPACE,
            tune_config=tune.TuneConfig(num_samples=trials, reuse_actors=reuses),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        started = perf_counter()
        results = tuner.fit()
        seconds = (perf_counter() - started) / trials
    assert results.num_terminated == trials, results.errors
    return seconds
