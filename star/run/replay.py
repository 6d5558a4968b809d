"""A recorded search done again without training: does the record lead where it says? And one proxy trained again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from star.errors import UserError
from star.evaluation.evaluate import evaluate
from star.evaluation.objectives import OBJECTIVES
from star.records import Arrays, Evaluation, Generation, Individual, Job, Recorded, Status
from star.run.evolve import Trainer, evaluation_settings, load_same_corpus
from star.run.generational import Generational
from star.run.inheritance import WeightsLost, inherit_trained
from star.run.plan import RunPlan, read_plan
from star.run.settings import STEADY, read_record
from star.run.steady import Steady
from star.run.steps import Known, Schedule, Train
from star.storage import tables
from star.storage.run_directory import RunDirectory

TRAINED = (Status.OK, Status.STOPPED, Status.DIVERGED)  # what training again must come to as well
COMPARED = ("status", "loss_curve", "rungs", "tokens")  # of evaluations, besides objectives


class Differs(Exception):
    """The replay does not give what is recorded; one sentence names the first difference."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The number of steps that a replay repeated and found equal to the record."""

    asks: int  # proposals, up to the last generation
    arrivals: int  # results that the search was told
    generations: int  # that are equal byte for byte


@dataclass(frozen=True, slots=True)
class Retrained:
    """One proxy as it is recorded, and as it came out when it was trained again."""

    id: int
    recorded: Evaluation
    again: Evaluation

    def differences(self) -> dict[str, tuple[Any, Any]]:
        """Return the recorded and the repeated value of everything that differs, by name. Times are not compared, nor
        costs that were not recorded.
        """
        then, now = self.recorded, self.again
        if then.status is now.status is Status.DIVERGED:
            return {}  # what is recorded besides is of the rungs before, at which this training did not stop
        known = [one.column for one in OBJECTIVES.values() if not one.needs_latency and one.column in then.objectives]
        pairs = {name: (then.objectives[name], now.objectives.get(name)) for name in known}
        pairs |= {name: (getattr(then, name), getattr(now, name)) for name in COMPARED}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def replay(run: RunDirectory) -> Replayed:
    """Drive the search of a run once more from its recorded rows, and compare every generation byte for byte.

    Nothing is trained and nothing is written. Of a run that is going on, its finished generations are compared.

    Raises:
        Differs: something comes out otherwise, or a file is damaged.
        UserError: no run is there, or it has finished no generation.
    """
    run = RunDirectory(run.path).open()  # anew, so that its warnings are those of this replay
    recorded = {one.number: one for one in run.generations()}
    if not recorded:
        raise UserError(f"{run.path} has no finished generation yet: there is nothing to replay")
    plan, rows = read_plan(run), run.history()
    plan = replace(plan, settings=replace(plan.settings, generations=max(recorded)))
    is_steady = plan.settings.mode == STEADY
    again = _steady_again(plan, rows) if is_steady else _walk(Generational(plan, rows))
    compared = asks = 0
    for generation in again:
        compared += _is_recorded(run, recorded, generation)
        asks = generation.next_id
    if run.warnings:
        raise Differs(run.warnings[0])
    orders = [one.order for one in rows.values()]
    arrivals = sum(one.arrival > 0 if is_steady else one.generation <= max(recorded) for one in orders)
    return Replayed(asks, arrivals, compared)


def retrain(run: RunDirectory, number: str, note: Callable[[str], None], evaluate: Trainer = evaluate) -> Retrained:
    """Train one individual again as its record says. `note` is told of other versions of libraries.

    UserError if the run keeps no such individual, nothing was trained of it, the corpus has changed, or it began with
    weights that are gone.
    """
    plan = read_plan(run.open())
    individual = run.find_individual(number)
    if individual.hash not in (history := run.history()):
        raise UserError(f"the evaluation of individual {number} is lost")
    task, then, _ = history[individual.hash]
    if then.status not in TRAINED:
        raise UserError(f"individual {number} is {then.status}: there is no training to compare with")
    corpus = load_same_corpus(plan, read_record(run.config_toml), note)
    until = len(then.rungs) - 1 if then.status is Status.STOPPED else None
    job = Job(task=task, until=until, inherited=_inherited(run, plan, individual))
    return Retrained(individual.id, then, evaluate(job, evaluation_settings(plan), corpus).evaluation)


def _inherited(run: RunDirectory, plan: RunPlan, child: Individual) -> Arrays:
    """The weights that an individual began with."""
    if not plan.settings.warm_weights:
        return {}
    parents = [run.find_individual(str(id)) for id in child.parents]
    try:
        return inherit_trained(child.genome, parents, run.load_weights)
    except WeightsLost as lost:
        raise UserError(
            f"individual {child.id} began with the weights of its parents, which are kept no longer"
        ) from lost


def _walk(schedule: Schedule) -> Iterator[Generation]:
    """Yield the generations that a schedule gives without any training."""
    while (step := schedule.next(has_room=True)) is not None:
        match step:
            case Generation():
                yield step
            case Train(task):
                raise Differs(f"the search asks for {task.hash}, which is not recorded")
            case Known(task):
                raise Differs(
                    f"the evaluation of {task.hash} is missing, which the search asks for and which is infeasible"
                )


def _steady_again(plan: RunPlan, rows: Mapping[str, Recorded]) -> Iterator[Generation]:
    schedule = Steady(plan, rows)
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
