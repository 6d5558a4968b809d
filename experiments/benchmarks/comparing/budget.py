"""A trainer with a token budget, and the account of what a searcher spent and found."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from comparing.setting import COLUMNS
from star.architecture.genome import canonical, genome_hash
from star.records import Genome, Job, ReferenceBox, Result, Status, Task, derive_seed
from star.run.plan import plan_run
from star.run.settings import Settings
from star.search.front import front_mask, hypervolume

Train = Callable[[Job], Result]


class BudgetExhausted(Exception):
    """Raised when the next training needs more tokens than are left."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one searcher. `curve` holds the hypervolume after equal shares of the budget, up to all of it."""

    curve: np.ndarray
    tokens: int
    trainings: int  # begun, to the end or not
    finished: int
    duplicates: int  # of an architecture that had been begun before
    search_seconds: float  # without training


class BudgetedTrainer:
    """Train for a searcher until a budget of `trainings` full trainings is spent. A training that stops early costs the
    tokens it used; one that is repeated is paid again."""

    def __init__(self, train: Train, config: Settings, trainings: int) -> None:
        config = plan_run(config).settings
        recipe = plan_run(config).trained.recipe
        self._train = train
        self._seed = config.seed
        self._step = recipe.batch_size * recipe.seq_len
        self._stops = (*plan_run(config).race.steps, recipe.steps)
        self.full = recipe.steps * self._step
        self.budget = trainings * self.full
        self.tokens = 0
        self._began = time.perf_counter()
        self._training = 0.0
        self._reached: dict[str, int] = {}  # steps of what was trained last
        self._seen: dict[str, int] = {}  # how often a training was begun
        self._found: list[tuple[int, list[float]]] = []  # tokens by then, objectives

    def __call__(self, job: Job) -> Result:
        """Run a job. Raise BudgetExhausted, and spend nothing, if it would exceed the budget."""
        stop = self._stops[-1] if job.until is None else self._stops[job.until]
        done = self._reached[job.task.hash] if job.state else 0
        due = (stop - done) * self._step
        if self.tokens + due > self.budget:
            raise BudgetExhausted
        started = time.perf_counter()
        result = self._train(job)
        self._training += time.perf_counter() - started
        self.tokens += due
        self._reached[job.task.hash] = stop
        if not job.state:
            self._seen[job.task.hash] = self._seen.get(job.task.hash, 0) + 1
        if result.evaluation.status is Status.OK:
            self._found.append((self.tokens, [result.evaluation.objectives[name] for name in COLUMNS]))
        rungs = result.evaluation.rungs[: len(self._stops) - 1]  # trainers measure all rungs; only a race may see them
        return replace(result, evaluation=replace(result.evaluation, rungs=rungs))

    def score(self, genome: Genome) -> list[float] | None:
        """Train a genome to the end. Return its objectives in the order of COLUMNS, or None after a failure."""
        form = canonical(tuple(map(int, genome)))
        hash = genome_hash(form)
        task = Task(genome=form, hash=hash, seed=derive_seed(self._seed, hash))
        evaluation = self(Job(task=task)).evaluation
        return [evaluation.objectives[name] for name in COLUMNS] if evaluation.status is Status.OK else None

    def points(self) -> np.ndarray:
        """Return the objectives (N, 3) of all genomes trained to the end."""
        return np.array([values for _, values in self._found]).reshape(-1, len(COLUMNS))

    def outcome(self, box: ReferenceBox, shares: int) -> Outcome:
        """Return the account. The time of the search ends with this call."""
        seconds = time.perf_counter() - self._began - self._training
        begun = sum(self._seen.values())
        return Outcome(
            curve=self._curve(box, shares),
            tokens=self.tokens,
            trainings=begun,
            finished=len(self._found),
            duplicates=begun - len(self._seen),
            search_seconds=seconds,
        )

    def _curve(self, box: ReferenceBox, shares: int) -> np.ndarray:
        front, left, volumes = np.zeros((0, len(COLUMNS))), list(self._found), []
        for share in range(1, shares + 1):
            fresh = [values for tokens, values in left if tokens * shares <= share * self.budget]
            left = left[len(fresh) :]
            if fresh:
                front = np.vstack([front, fresh])
                front = front[front_mask(front)]
            volumes.append(hypervolume(front, box))
        return np.array(volumes)
