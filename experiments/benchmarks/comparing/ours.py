"""star's own searchers: the loop of `star evolve`, in this process, with a run in memory."""

import tempfile
from collections.abc import Collection
from dataclasses import replace

from comparing.budget import BudgetedTrainer
from star.records import Arrays, Evaluation, Generation, Task
from star.run.evolution import Evolution
from star.run.plan import plan_run
from star.run.progress import Silent
from star.run.settings import Settings, to_toml
from star.run.steady import Steady
from star.run.summary import Clock
from star.storage.run_directory import RunDirectory
from star.workers.pool import SerialPool


class MemoryRun(RunDirectory):
    """A run that writes nothing, so that thousands of evaluations take seconds. overhead.py measures the writing."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._arrays: dict[tuple[str, str], Arrays] = {}

    def append_evaluation(self, task: Task, evaluation: Evaluation) -> None: ...

    def write_generation(self, generation: Generation, unsettled: Collection[str] = ()) -> None: ...

    def prune_weights(self, keep: set[str]) -> None: ...

    def save_weights(self, hash: str, weights: Arrays) -> None: ...

    def save_state(self, hash: str, state: Arrays) -> None:
        self._arrays["state", hash] = state

    def load_state(self, hash: str) -> Arrays | None:
        return self._arrays.get(("state", hash))


def search_with_star(trainer: BudgetedTrainer, config: Settings) -> None:
    """Search as configured until the budget is spent."""
    config = replace(config, serial=True, store="", generations=10**6)
    with tempfile.TemporaryDirectory() as folder, MemoryRun(f"{folder}/run") as run:
        run.create(to_toml(config, {"corpus_digest": ""}))
        loop = Steady if config.mode == "steady" else Evolution
        loop(plan_run(config), run, Clock(), Silent()).finish(SerialPool(trainer))
