"""A recorded search done again without training: does the record lead where it says?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from star.errors import UserError
from star.records import Generation, Individual, Recorded
from star.run.estimates import read_longer
from star.run.generational import Generational
from star.run.latencies import read_latencies
from star.run.plan import read_plan
from star.run.settings import STEADY
from star.run.steady import Steady
from star.run.steps import Known, Measure, Schedule, Train
from star.storage import tables
from star.storage.run_directory import RunDirectory


class Differs(Exception):
    """The replay does not give what is recorded; one sentence names the first difference."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The number of steps that a replay repeated and found equal to the record."""

    asks: int  # proposals, up to the last generation
    arrivals: int  # results that the search was told
    generations: int  # that are equal byte for byte


def replay(run: RunDirectory) -> Replayed:
    """Drive the search of a run once more from its recorded rows, and compare every generation byte for byte.

    Nothing is trained and nothing is written. Of a run that is going on, its finished generations are compared.

    Raises:
        Differs: something comes out otherwise, or a file is damaged.
        UserError: no run is there, or it has finished no generation.
    """
    run = RunDirectory(run.path).open()  # anew, so that its warnings are those of this replay
    recorded = {one.number: one for one in run.generations()}
    rows = run.history()
    schedule = _schedule_again(run, recorded, rows)
    compared = asks = 0
    for generation in _again(schedule, rows):
        compared += _is_recorded(run, recorded, generation)
        asks = generation.next_id
    if run.warnings:
        raise Differs(run.warnings[0])
    is_steady = isinstance(schedule, Steady)
    orders = [one.order for one in rows.values()]
    arrivals = sum(one.arrival > 0 if is_steady else one.generation <= max(recorded) for one in orders)
    return Replayed(asks, arrivals, compared)


def repeat(run: RunDirectory) -> tuple[list[Generation], list[Individual]]:
    """Drive the search of a run once more from its recorded rows, and return its generations and every individual that
    it was told, in order.

    Raises:
        Differs: a result is missing that the search asks for.
        UserError: no run is there, or it has finished no generation.
    """
    recorded = {one.number: one for one in run.open().generations()}
    rows = run.history()
    schedule = _schedule_again(run, recorded, rows)
    return list(_again(schedule, rows)), schedule.core.told


def _schedule_again(
    run: RunDirectory, recorded: Mapping[int, Generation], rows: Mapping[str, Recorded]
) -> Generational | Steady:
    """Return the schedule of a run from its beginning to the last generation that is recorded."""
    if not recorded:
        raise UserError(f"{run.path} has no finished generation yet: there is nothing to replay")
    plan = read_plan(run)
    plan = replace(plan, settings=replace(plan.settings, generations=max(recorded)))
    if plan.settings.mode == STEADY:
        return Steady(plan, rows)
    return Generational(plan, rows, longer=read_longer(plan, run), latencies=read_latencies(plan, run))


def _walk(schedule: Schedule) -> Iterator[Generation]:
    """Yield the generations that a schedule gives without any training."""
    while (step := schedule.next(has_room=True)) is not None:
        match step:
            case Generation():
                yield step
            case Measure(genomes) if schedule.core.scores.can_guess and schedule.core.latencies.missing(genomes):
                raise Differs("the search asks for latencies of operators that are not recorded")
            case Train(task):
                raise Differs(f"the search asks for {task.hash}, which is not recorded")
            case Known(task):
                raise Differs(
                    f"the evaluation of {task.hash} is missing, which the search asks for and which is infeasible"
                )


def _again(schedule: Generational | Steady, rows: Mapping[str, Recorded]) -> Iterator[Generation]:
    """Yield the generations that follow from the rows of a record."""
    if isinstance(schedule, Steady):
        yield from schedule.views
        if schedule.unreached:
            first = schedule.arrivals + 1
            for hash, one in rows.items():
                if one.order.arrival == first:
                    raise Differs(f"arrival {first}: the search did not ask for {hash}, which is recorded")
            raise Differs(f"arrival {first}: its evaluation is missing")
    yield from _walk(schedule)


def _is_recorded(run: RunDirectory, recorded: Mapping[int, Generation], again: Generation) -> bool:
    """Return whether a generation is recorded, or its writer was stopped just before. Differs if another one is."""
    path = run.generation_path(again.number)
    if not path.exists():
        if max(recorded) > again.number:
            raise Differs(f"generation {again.number} is missing")
        return False
    if path.read_bytes() != tables.pack_generation(again):
        then = recorded.get(again.number)
        raise Differs(f"generation {again.number}: {first_difference(then, again) if then else run.warnings[-1]}")
    return True


def first_difference(recorded: Generation, again: Generation) -> str:
    """The first thing in which two generations differ, in words."""
    for name in ("individuals", "front"):
        one, other = getattr(recorded, name), getattr(again, name)
        if _ids(one) != _ids(other):
            return f"its {name} are {_ids(one)}, and {_ids(other)} in the replay"
        for then, now in zip(one, other, strict=True):
            if then != now:
                return f"individual {then.id} has {_differing(then, now)}"
    return f"it has {_differing(recorded, again)}"


def _ids(individuals: Sequence[Individual]) -> list[int]:
    return [one.id for one in individuals]


def _differing(recorded: Individual | Generation, again: Individual | Generation) -> str:
    for field in fields(recorded):
        then, now = getattr(recorded, field.name), getattr(again, field.name)
        if then != now:
            return f"{field.name} {then}, and {now} in the replay"
    return "equal values, but other bytes: another version of pyarrow or of star wrote it"
