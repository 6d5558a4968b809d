"""All that a report shows of a run, read once."""

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from star.architecture import catalogue
from star.architecture.codes import TokenMixing
from star.architecture.genome import decode, genome_hash
from star.architecture.spec import Slot
from star.errors import UserError
from star.evaluation.objectives import Objective
from star.records import Generation, Individual, Status
from star.report.front import FrontRow, front_rows
from star.run.plan import RunPlan, read_plan
from star.storage.run_directory import RunDirectory


class Kind(NamedTuple):
    """What a chart counts a slot as: its class, or what operators of one structure that are in no table go under."""

    name: str
    token_mixing: TokenMixing


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A run as it stands. `evaluated` holds the objectives of every proxy that was trained to the end,
    `baselines` those of named architectures among them, by title."""

    name: str
    plan: RunPlan
    generations: tuple[Generation, ...]
    evaluated: tuple[dict[str, float], ...]
    baselines: dict[str, dict[str, float]]

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return self.plan.objectives

    @property
    def last(self) -> Generation:
        return self.generations[-1]

    @property
    def front(self) -> list[FrontRow]:
        return front_rows(self.last)

    @property
    def rest(self) -> list[Individual]:
        """The members of the last population, trained to the end, that some other dominates."""
        front = {one.id for one in self.last.front}
        return [one for one in self.last.individuals if one.id not in front and one.status is Status.OK]

    def quality_by_generation(self) -> list[tuple[int, float, float]]:
        """Generation, best and median value of the first objective, where there is any."""
        column = self.objectives[0].column
        rows = []
        for generation in self.generations:
            values = [one.objectives[column] for one in generation.individuals if one.status is Status.OK]
            if values:
                rows.append((generation.number, min(values), median(values)))
        return rows

    def kinds_by_generation(self) -> list[tuple[int, dict[Kind, int]]]:
        """Generation, and how many slots of its population each kind of operator fills."""
        return [
            (generation.number, Counter(kind_of(slot) for one in generation.individuals for slot in decode(one.genome)))
            for generation in self.generations
        ]


def kind_of(slot: Slot) -> Kind:
    """The kind of a slot's operator."""
    return Kind(slot.liv.name if slot.class_id > 0 else f"other {slot.liv.structure}", slot.liv.token_mixing)


def read_history(run: RunDirectory) -> History:
    """Read a run. UserError if it has no finished generation."""
    generations = run.generations()
    if not generations:
        raise UserError(f"{run.path} has no finished generation yet, so there is nothing to report")
    plan = read_plan(run)
    ended = {hash: one for hash, one in run.evaluations().items() if one.status is Status.OK}
    return History(
        name=run.path.resolve().name,
        plan=plan,
        generations=tuple(generations),
        evaluated=tuple(one.objectives for one in ended.values()),
        baselines={
            title: ended[hash].objectives for hash, title in _named(plan.settings.slots).items() if hash in ended
        },
    )


def _named(num_slots: int) -> dict[str, str]:
    """Titles by hash. Published models of one pattern are one architecture here, and go under the name of the pattern
    if there is one."""
    found: dict[str, str] = {}
    entries = [catalogue.load(name) for name in catalogue.names()]
    for named in sorted(entries, key=lambda one: one.scale is not None):
        found.setdefault(genome_hash(named.at(num_slots)), named.title)
    return found
