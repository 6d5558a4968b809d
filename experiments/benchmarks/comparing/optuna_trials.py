"""The time per trial of Optuna's NSGA-II with three of its storages. Needs the extra `bench`."""

import tempfile
from time import perf_counter

import numpy as np
import optuna
from optuna.samplers import NSGAIISampler
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from comparing.setting import BOUNDS, COLUMNS, CONFIG, NAMES

optuna.logging.set_verbosity(optuna.logging.WARNING)
DIRECTIONS = ["minimize"] * len(COLUMNS)


def suggest(trial: optuna.Trial) -> list[int]:
    """Let Optuna suggest a genome."""
    return [trial.suggest_int(name, *bounds) for name, bounds in zip(NAMES, BOUNDS, strict=True)]


def nothing(trial: optuna.Trial) -> list[float]:
    """Return invented objectives that depend only on the genome."""
    return np.random.default_rng(suggest(trial)).random(len(COLUMNS)).tolist()


def time_in_memory(trials: int) -> float:
    """Return seconds per trial with storage in memory."""
    return _time(InMemoryStorage(), trials)


def time_journal(trials: int) -> float:
    """Return seconds per trial with a journal on disk."""
    with tempfile.TemporaryDirectory() as folder:
        return _time(JournalStorage(JournalFileBackend(f"{folder}/journal.log")), trials)


def time_sqlite(trials: int) -> float:
    """Return seconds per trial with SQLite on disk."""
    with tempfile.TemporaryDirectory() as folder:
        storage = RDBStorage(f"sqlite:///{folder}/trials.db")
        try:
            return _time(storage, trials)
        finally:
            storage.engine.dispose()


def _time(storage: BaseStorage, trials: int) -> float:
    sampler = NSGAIISampler(population_size=CONFIG.population, seed=0)
    study = optuna.create_study(storage=storage, directions=DIRECTIONS, sampler=sampler)
    started = perf_counter()
    study.optimize(nothing, n_trials=trials)
    return (perf_counter() - started) / trials
