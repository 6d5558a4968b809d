"""The time per trial of Ray Tune, which samples genomes at random here. Needs the extra `bench`."""

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
    """Return invented objectives that depend only on the genome."""
    genome = [config[name] for name in NAMES]
    return dict(zip(COLUMNS, np.random.default_rng(genome).random(len(COLUMNS)).tolist(), strict=True))


@contextmanager
def ray_running() -> Iterator[None]:
    """Start a private Ray with one core per worker."""
    ray.init("local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def time_fresh_actors(trials: int) -> float:
    """Return seconds per trial with a new actor for each (the default), without the start of Ray."""
    return _time(trials, reuses=False)


def time_reused_actors(trials: int) -> float:
    """Return seconds per trial with reused actors, without the start of Ray."""
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
