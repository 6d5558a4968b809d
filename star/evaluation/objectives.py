"""The objectives that a search can minimise: a table of named functions of the outcome of an evaluation.

Costs are those of the target, and so are latencies, sums over operators that were measured there alone: both are known
without any training. Errors in synthetic tasks take a training each.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from star.cost.target import TargetCost
from star.data.synthetic import MAD, TASKS
from star.errors import UserError, nearest
from star.records import Fit, Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The measurements of an evaluation, as far as they were asked for: quality, latency, errors by
    name of the task.
    """

    cost: TargetCost
    fit: Fit | None = None
    latency: Latency | None = None
    errors: dict[str, float] = field(default_factory=dict)

    def columns(self) -> dict[str, float]:
        """Return the value of every objective that is known, by column."""
        return {one.column: one.value(self) for one in OBJECTIVES.values() if one.is_known(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One quantity to minimise. `column` names it in files; values are in `unit` and natural sign."""

    name: str
    column: str
    unit: str
    title: str
    value: Callable[[Outcome], float]
    needs_text: bool = False
    needs_latency: bool = False
    tasks: tuple[str, ...] = ()  # synthetic ones that it needs

    @property
    def needs_training(self) -> bool:
        """Whether a genome has to be trained for it."""
        return self.needs_text or bool(self.tasks)

    def is_known(self, outcome: Outcome) -> bool:
        """Whether everything that it needs was measured."""
        has_text = outcome.fit is not None or not self.needs_text
        has_latency = outcome.latency is not None or not self.needs_latency
        return has_text and has_latency and all(task in outcome.errors for task in self.tasks)


def _mean_error(name: str, column: str, title: str, tasks: tuple[str, ...]) -> Objective:
    return Objective(
        name=name,
        column=column,
        unit="share wrong",
        title=title,
        value=lambda outcome: sum(outcome.errors[task] for task in tasks) / len(tasks),
        tasks=tasks,
    )


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective(
            name="quality",
            column="quality_bpb",
            unit="bits per byte",
            title="Validation bits per byte",
            value=lambda outcome: outcome.fit.quality_bpb if outcome.fit else math.nan,
            needs_text=True,
        ),
        Objective(
            name="params",
            column="params",
            unit="parameters",
            title="Parameters",
            value=lambda outcome: float(outcome.cost.params),
        ),
        Objective(
            name="cache",
            column="cache_bytes",
            unit="bytes",
            title="Cache size",
            value=lambda outcome: float(outcome.cost.cache_bytes),
        ),
        Objective(
            name="memory",
            column="memory_bytes",
            unit="bytes",
            title="Memory of weights and caches",
            value=lambda outcome: float(outcome.cost.memory_bytes),
        ),
        Objective(
            name="flops",
            column="flops_per_token",
            unit="FLOPs",
            title="Forward FLOPs per token",
            value=lambda outcome: outcome.cost.flops_per_token,
        ),
        Objective(
            name="latency",
            column="decode_ms",
            unit="ms",
            title="Milliseconds per decoded token",
            value=lambda outcome: outcome.latency.decode_ms if outcome.latency else math.nan,
            needs_latency=True,
        ),
        Objective(
            name="prefill",
            column="prefill_ms",
            unit="ms",
            title="Milliseconds to read a full context",
            value=lambda outcome: outcome.latency.prefill_ms if outcome.latency else math.nan,
            needs_latency=True,
        ),
        _mean_error("mad", "error_mad", "Mean error in the tasks of MAD", MAD),
        *(_mean_error(task.name, task.column, task.title, (task.name,)) for task in TASKS.values()),
    )
}


QUALITY = OBJECTIVES["quality"].column
PRICES = frozenset(one.column for one in OBJECTIVES.values() if not one.needs_training)  # that all trainings share


def tasks_of(objectives: tuple[Objective, ...]) -> tuple[str, ...]:
    """Return the synthetic tasks that these objectives need, each once, sorted by name, because the order in which
    somebody lists objectives is irrelevant.
    """
    return tuple(sorted({task for one in objectives for task in one.tasks}))


def find_objectives(names: tuple[str, ...]) -> tuple[Objective, ...]:
    """Return the objectives of those names, in that order. Raise UserError with the nearest right name."""
    for name in names:
        if name not in OBJECTIVES:
            raise UserError(f"unknown objective {name!r}{nearest(name, OBJECTIVES)}")
    return tuple(OBJECTIVES[name] for name in names)
