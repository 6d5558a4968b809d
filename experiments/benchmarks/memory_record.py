"""The record of a run in memory, so that thousands of invented evaluations take seconds."""

from collections.abc import Collection
from pathlib import Path

from star.records import Arrays, Evaluation, Generation, Order, Task
from star.run.driver import Driver
from star.run.generational import Generational
from star.run.plan import RunPlan
from star.run.progress import Progress
from star.run.settings import STEADY
from star.run.steady import Steady
from star.run.summary import Clock


class MemoryRecord:
    """A `star.run.driver.Record` that keeps the states of paused trainings and nothing else. No weights are missing."""

    def __init__(self) -> None:
        self._states: dict[str, Arrays] = {}

    def new_warnings(self) -> list[str]:
        return []

    def append_evaluation(self, task: Task, evaluation: Evaluation, order: Order) -> None: ...

    def write_generation(self, generation: Generation, incomplete: Collection[str]) -> None: ...

    def save_weights(self, hash: str, weights: Arrays) -> None: ...

    def load_weights(self, hash: str) -> Arrays:
        return {}

    def weights_path(self, hash: str) -> Path:
        return Path(f"{hash}.safetensors")

    def prune_weights(self, keep: set[str]) -> None: ...

    def save_state(self, hash: str, state: Arrays) -> None:
        self._states[hash] = state

    def load_state(self, hash: str) -> Arrays | None:
        return self._states.get(hash)

    def prune_states(self, keep: set[str]) -> None:
        self._states = {hash: state for hash, state in self._states.items() if hash in keep}


def open_in_memory(plan: RunPlan) -> Driver:
    """Return the driver of a new run of which nothing is written."""
    schedule = Steady(plan, {}) if plan.settings.mode == STEADY else Generational(plan, {})
    return Driver(schedule, MemoryRecord(), Clock(), Progress())
