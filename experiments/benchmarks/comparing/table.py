"""The recorded table as a trainer: recorded genomes are looked up, others are predicted by the surrogate."""

from dataclasses import dataclass, replace

import numpy as np
from record_table import Row

from comparing.features import Features
from comparing.setting import COLUMNS
from comparing.surrogate import Process
from star.records import Evaluation, Genome, Job, ReferenceBox, Result, Status
from star.run.plan import plan_run
from star.run.settings import Settings
from star.search.front import reference_box


@dataclass(frozen=True, slots=True)
class Data:
    """The rows that did not fail: features (N, entries), qualities at each rung and at the end (N, rungs + 1), and
    which rows are uniform samples."""

    features: np.ndarray
    qualities: np.ndarray
    is_uniform: np.ndarray
    blocks: tuple[slice, ...]


def data_of(rows: list[Row], features: Features, uniform: int) -> Data:
    """Return the data of a table whose first `uniform` rows are samples."""
    sound = [(i, row) for i, row in enumerate(rows) if row.status == Status.OK]
    return Data(
        features=features.matrix([row.genome for _, row in sound]),
        qualities=np.array([[*row.rungs, row.objectives[0]] for _, row in sound]),
        is_uniform=np.array([i < uniform for i, _ in sound]),
        blocks=features.blocks,
    )


def box_of(rows: list[Row], uniform: int) -> ReferenceBox:
    """Return the reference box of all hypervolumes, that of the table's uniform samples."""
    quality, params, cache = np.array([row.objectives for row in rows[:uniform]]).T
    box = reference_box(np.stack([cache, params, quality], axis=1))
    assert box, "no row of the table ended well"
    return box


class TableTrainer:
    """Answer a job at once as a training would. Costs are exact; the quality of a genome outside the table is the mean
    of a Gaussian process fitted to the table, without noise."""

    def __init__(self, rows: list[Row], config: Settings, uniform: int) -> None:
        recipe = plan_run(config).trained.recipe
        self._features = Features(config)
        self.data = data_of(rows, self._features, uniform)
        self.process = Process(self.data.features, self.data.qualities, self.data.blocks)
        self._known = {row.genome: (*row.rungs, row.objectives[0]) for row in rows if row.status == Status.OK}
        self._stops = (*plan_run(config).race.steps, recipe.steps)
        self._step = recipe.batch_size * recipe.seq_len

    def qualities(self, genome: Genome) -> tuple[float, ...]:
        """Return the qualities of a canonical genome at each rung and at the end."""
        if genome not in self._known:
            (means,) = self.process.predict(self._features.vector(genome)[None])
            self._known[genome] = tuple(means.tolist())
        return self._known[genome]

    def __call__(self, job: Job) -> Result:
        last = len(self._stops) - 1
        until = last if job.until is None else job.until
        *rungs, _ = qualities = self.qualities(job.task.genome)
        params, cache = self._features.costs(job.task.genome)
        evaluation = Evaluation(
            hash=job.task.hash,
            status=Status.OK if until == last else Status.STOPPED,
            objectives=dict(zip(COLUMNS, (cache, params, qualities[until]), strict=True)),
            rungs=tuple(rungs[: until + 1]),
            tokens=self._stops[until] * self._step,
        )
        result = Result(task=job.task, evaluation=evaluation, weights={"none": np.zeros(1)})
        if until == last:
            return result
        return replace(result, weights={}, state={"none": np.zeros(1)})
