"""Take evaluations from the store and give them to it: at any rung no more than training would have given."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from star.cost.target import Screen
from star.evaluation.fingerprint import provenance
from star.evaluation.objectives import PRICES, QUALITY, tasks_of
from star.records import STORE, Evaluation, Result, Status, Task
from star.run.plan import RunPlan
from star.storage.store import Store, canonical_text
from star.storage.tables import SCHEMA_VERSION
from star.training.schedule import curve_marks


class Reuse:
    """The store as one run sees it, or nothing at all if the run has none.

    A run whose children begin with their parents' weights has none, because what they come to follows from more than
    their genome. What another kind of device, other libraries or other code trained than are here, or trained in part,
    is not stored, and a run on GPUs without one here has no store.
    """

    def __init__(self, plan: RunPlan, digest: str, screen: Screen, note: Callable[[str], None]) -> None:
        recipe, settings = plan.trained.recipe, plan.settings
        self._screen = screen
        self._steps = recipe.steps
        self._step_tokens = recipe.batch_size * recipe.seq_len
        self._stops = plan.race.steps
        self.origin = provenance("cuda" if plan.placement.gpus_per_worker else "cpu")
        has_store = settings.store and digest and self.origin and not settings.warm_weights
        context = describe_training(plan, digest, self.origin)
        self._store = Store(settings.store, context, note) if has_store else None

    def find(self, task: Task, rung: int | None) -> Evaluation | None:
        """Return what training a proxy up to a rung gives, or to the end if that is None; None if it has to be trained.

        The costs are those at this run's target. It is the evaluation that a worker would give, but for its name and
        for the seconds, which are those that somebody's training took.
        """
        known = self._store.find(task) if self._store else None
        if known is None:
            return None
        if rung is not None and rung < len(known.rungs):
            return self._paused(task, known, rung)
        if known.status is Status.DIVERGED:
            return replace(known, loss_curve=(), rungs=(), tokens=0, worker=STORE)
        return self._priced(task, known, known.objectives) if known.status is Status.OK else None

    def keep(self, result: Result, evaluation: Evaluation, before: Evaluation | None, rung: int | None) -> None:
        """Store what a worker gave that trained a proxy up to a rung: as an evaluation joined to `before`, what
        was known of it until then.

        What depends on the machine is not stored: that a worker died, took too long or ran out of memory.
        """
        if self._store is None or result.origin != self.origin:
            return
        task = result.task
        own = {"retries": {}}
        if evaluation.status in (Status.OK, Status.STOPPED):
            measured = {name: value for name, value in evaluation.objectives.items() if name not in PRICES}
            self._store.keep(task, replace(evaluation, objectives=measured, **own))
        elif evaluation.status is Status.DIVERGED:
            passed = len(before.rungs) if before else 0
            following = passed if passed < len(self._stops) else None
            if rung == following:  # else nobody knows which rungs it would have passed
                if before:
                    own |= {"rungs": before.rungs, "loss_curve": before.loss_curve, "tokens": before.tokens}
                self._store.keep(task, replace(evaluation, **own))

    def keep_weights(self, result: Result, source: Path) -> None:
        """Store the file of weights that the run keeps of a proxy."""
        if self._store and result.origin == self.origin:
            self._store.keep_weights(result.task, source)

    def take_weights(self, task: Task, target: Path) -> bool:
        """Put stored weights where the run keeps its own; False if there are none."""
        return self._store is not None and self._store.take_weights(task, target)

    def _paused(self, task: Task, known: Evaluation, rung: int) -> Evaluation:
        """Return the evaluation of the training as it stood at a rung."""
        stop = self._stops[rung]
        tokens = stop * self._step_tokens
        share = min(1.0, tokens / known.tokens)
        paused = replace(
            known,
            status=Status.STOPPED,
            rungs=known.rungs[: rung + 1],
            loss_curve=known.loss_curve[: curve_length(self._steps, stop)],
            tokens=tokens,
            seconds=known.seconds * share,
            train_seconds=known.train_seconds * share,
            error="",
        )
        return self._priced(task, paused, {QUALITY: known.rungs[rung]})

    def _priced(self, task: Task, known: Evaluation, measured: dict[str, float]) -> Evaluation:
        cost = self._screen.cost(task.genome)
        assert cost is not None, "what cannot be built is infeasible"
        return replace(known, objectives=measured | cost.columns(), worker=STORE)


def describe_training(plan: RunPlan, digest: str, origin: str) -> str:
    """All that decides what training a genome with a seed gives, as one text: the sizes and the recipe, where the
    race has its rungs and a loss is measured besides, what is trained on, and by what."""
    scale, objectives = plan.trained, plan.objectives
    return canonical_text(
        {
            "dims": scale.dims,
            "recipe": scale.recipe,
            "rungs": plan.race.steps,
            "measured": plan.measured_steps,
            "corpus": digest if any(one.needs_text for one in objectives) else "",
            "tasks": tasks_of(objectives),
            "schema": SCHEMA_VERSION,
            "origin": origin,
        }
    )


def curve_length(steps: int, stop: int) -> int:
    """Return the number of points of the loss curve of a training of `steps` steps after `stop` of them."""
    return sum(mark <= stop for mark in curve_marks(steps))
