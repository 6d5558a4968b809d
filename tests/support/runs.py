"""Runs driven in this process with another evaluator or pool than the real ones, and a witness of what they report."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from star.evaluation.evaluate import evaluate
from star.records import Evaluation
from star.run.evolve import PoolMaker, Trainer, make_pool
from star.run.evolve import evolve as star_evolve
from star.run.evolve import resume as star_resume
from star.run.progress import Progress
from star.run.settings import Settings
from star.run.summary import Summary
from star.storage.run_directory import RunDirectory
from star.workers.pool import Pool


def in_pool(kind: Callable[..., Pool]) -> PoolMaker:
    """Make pools of a kind, whatever the plan says."""
    return lambda plan, evaluate, corpus: kind(evaluate)


@dataclass(frozen=True)
class Driver:
    """`evolve` and `resume` with these in place of the real evaluator and the real workers."""

    evaluate: Trainer = evaluate
    make_pool: PoolMaker = make_pool

    def evolve(self, settings: Settings, run: RunDirectory, progress: Progress | None = None) -> Summary:
        return star_evolve(settings, run, progress, self.evaluate, self.make_pool)

    def resume(self, run: RunDirectory, *arguments, **options) -> Summary:
        return star_resume(run, *arguments, **options, evaluate=self.evaluate, make_pool=self.make_pool)

    def run_in(self, path: Path, settings: Settings, progress: Progress | None = None) -> RunDirectory:
        """Evolve in a new directory, and return the run."""
        run = RunDirectory(path)
        self.evolve(settings, run, progress)
        return run


class Witness(Progress):
    """Records what it is told, and sends this process a signal at the chosen evaluation."""

    def __init__(self, stop_at: int = 0, by: int = signal.SIGINT) -> None:
        self.stop_at, self.by = stop_at, by
        self.evaluations: list[Evaluation] = []
        self.numbers: list[int] = []
        self.proxies: list[tuple[int, int, int]] = []
        self.notes: list[str] = []
        self.workers = 0

    def workers_ready(self, num_workers, startup_seconds):
        self.workers = num_workers

    def generation_started(self, number, proposals, proxies):
        self.proxies.append((number, proposals, proxies))

    def evaluated(self, evaluation):
        self.evaluations.append(evaluation)
        if len(self.evaluations) == self.stop_at:
            os.kill(os.getpid(), self.by)

    def generation_finished(self, generation, refusal):
        self.numbers.append(generation.number)

    def noted(self, sentence):
        self.notes.append(sentence)
