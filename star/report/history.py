"""The contents of a report, read from a run directory."""

from collections import Counter
from dataclasses import dataclass, replace
from statistics import median
from typing import NamedTuple

from star.architecture.codes import TokenMixing
from star.architecture.genome import decode
from star.architecture.spec import Slot
from star.errors import UserError
from star.evaluation.objectives import QUALITY, Objective
from star.records import UNTRAINED, Evaluation, Generation, Individual, Status
from star.report.front import FrontRow, front_rows
from star.run.core import Core
from star.run.estimates import read_longer
from star.run.plan import RunPlan, read_plan
from star.run.replay import Differs
from star.run.seeds import named_architectures, seed_names
from star.run.variation import Success, measure_success
from star.storage.run_directory import RunDirectory


class Kind(NamedTuple):
    """The label under which a chart counts a slot: its class, or "other STRUCTURE" for operators outside the table."""

    name: str
    token_mixing: TokenMixing


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A run up to its last finished generation. `trained` holds every proxy whose training began, `baselines` the named
    architectures that were trained to the end, by title, `seeds` the name of each seed genome and `births` the
    generation that asked for each architecture first, by hash; `variation` is empty if the record is not complete."""

    name: str
    plan: RunPlan
    generations: tuple[Generation, ...]
    trained: tuple[Evaluation, ...]
    baselines: dict[str, Evaluation]
    seeds: dict[str, str]
    births: dict[str, int]
    variation: tuple[Success, ...]

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """Return the objectives of the run; a quality that is estimated says so in its title."""
        if not self.last.estimated:
            return self.plan.objectives
        title = f"Bits per byte estimated for {self.last.estimated:,} tokens"
        return tuple(replace(one, title=title) if one.column == QUALITY else one for one in self.plan.objectives)

    @property
    def last(self) -> Generation:
        return self.generations[-1]

    @property
    def front(self) -> list[FrontRow]:
        return front_rows(self.last)

    @property
    def rest(self) -> list[Individual]:
        """Return the members of the last population that were trained to the end and are not on the front."""
        front = {one.id for one in self.last.front}
        return [one for one in self.last.individuals if one.id not in front and one.status is Status.OK]

    @property
    def others(self) -> list[Evaluation]:
        """Return the proxies trained to the end that are not on the front, in the last population or named."""
        shown = {one.hash for one in (*self.last.front, *self.last.individuals, *self.baselines.values())}
        return [one for one in self.trained if one.status is Status.OK and one.hash not in shown]

    @property
    def stopped(self) -> int:
        """Return the number of proxies that stopped early."""
        return sum(one.status is Status.STOPPED for one in self.trained)

    def quality_by_generation(self) -> list[tuple[int, float, float]]:
        """Return generation, best and median of the first objective for each generation that has a value."""
        column = self.objectives[0].column
        rows = []
        for generation in self.generations:
            values = [one.objectives[column] for one in generation.individuals if one.status is Status.OK]
            if values:
                rows.append((generation.number, min(values), median(values)))
        return rows

    def kinds_by_generation(self) -> list[tuple[int, dict[Kind, int]]]:
        """Return each generation with the number of slots that each kind of operator fills in its population."""
        return [
            (generation.number, Counter(kind_of(slot) for one in generation.individuals for slot in decode(one.genome)))
            for generation in self.generations
        ]


def kind_of(slot: Slot) -> Kind:
    """Return the kind of a slot's operator."""
    return Kind(slot.liv.name if slot.class_id > 0 else f"other {slot.liv.structure}", slot.liv.token_mixing)


def read_history(run: RunDirectory) -> History:
    """Read a run. Raise UserError if it has no finished generation."""
    generations = run.generations()
    if not generations:
        raise UserError(f"{run.path} has no finished generation yet, so there is nothing to report")
    plan = read_plan(run)
    rows = [one for one in run.history().values() if one.order.generation <= generations[-1].number]
    trained = tuple(one.evaluation for one in rows if one.evaluation.status not in UNTRAINED)
    if generations[-1].estimated:
        trained = _estimated(trained, plan, run, generations[-1])
    ended = {one.hash: one for one in trained if one.status is Status.OK}
    names = named_architectures(plan.settings.slots)
    return History(
        name=run.path.resolve().name,
        plan=plan,
        generations=tuple(generations),
        trained=trained,
        baselines={title: ended[hash] for hash, title in names.items() if hash in ended},
        seeds=seed_names(plan.settings),
        births={one.task.hash: one.order.generation for one in rows},
        variation=_variation(run),
    )


def _estimated(
    trained: tuple[Evaluation, ...], plan: RunPlan, run: RunDirectory, latest: Generation
) -> tuple[Evaluation, ...]:
    """Return evaluations with estimates in place of the qualities of proxies, as the population has them."""
    core = Core(plan, run.history(), latest, read_longer(plan, run))
    return tuple(
        replace(one, objectives=one.objectives | dict(zip(plan.columns, core.scores.values(one), strict=True)))
        if one.status is Status.OK
        else one
        for one in trained
    )


def _variation(run: RunDirectory) -> tuple[Success, ...]:
    try:
        return tuple(measure_success(run))
    except Differs:
        return ()
