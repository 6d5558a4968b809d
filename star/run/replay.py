"""A recorded search done again without training: does the record lead where it says? And one proxy trained again."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from star.errors import UserError
from star.evaluation.evaluate import evaluate
from star.evaluation.objectives import OBJECTIVES
from star.records import Arrays, Evaluation, Generation, Individual, Job, Result, Status, Task
from star.run.evolution import Evolution
from star.run.evolve import Trainer, evaluation_settings, load_same_corpus
from star.run.inheritance import inherit
from star.run.plan import RunPlan, read_plan
from star.run.progress import Silent
from star.run.settings import STEADY, read_record
from star.run.steady import Steady
from star.run.summary import Clock
from star.storage import tables
from star.storage.run_directory import GENERATIONS, RunDirectory
from star.workers.usage import UsageMeter

TRAINED = (Status.OK, Status.STOPPED, Status.DIVERGED)  # what training again must come to as well
COMPARED = ("status", "loss_curve", "rungs", "tokens")  # of evaluations, besides objectives


class Differs(Exception):
    """The replay does not give what is recorded; one sentence names the first difference."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """How much a replay went through and found to be as recorded."""

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
        """What differs, by name: recorded and again. What a clock measured is not compared, nor costs that were not
        recorded."""
        then, now = self.recorded, self.again
        if then.status is now.status is Status.DIVERGED:
            return {}  # what is recorded besides is of the rungs before, at which this training did not stop
        known = [one.column for one in OBJECTIVES.values() if not one.needs_latency and one.column in then.objectives]
        pairs = {name: (then.objectives[name], now.objectives.get(name)) for name in known}
        pairs |= {name: (getattr(then, name), getattr(now, name)) for name in COMPARED}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def replay(run: RunDirectory) -> Replayed:
    """Drive the search of a run once more from its recorded results, and compare every generation byte for byte.

    Nothing is trained and nothing is written. Of a run that is going on, its finished generations are compared.

    Raises:
        Differs: something comes out otherwise, or a file is torn.
        UserError: no run is there, or it has finished no generation.
    """
    record = _Record(run.path)
    whole = record.open().whole()
    if not whole:
        raise UserError(f"{run.path} has no finished generation yet: there is nothing to replay")
    plan = read_plan(record)
    plan = replace(plan, settings=replace(plan.settings, generations=whole[-1].number, store=""))
    is_steady = plan.settings.mode == STEADY
    evolution = (Steady if is_steady else Evolution)(plan, record, Clock(), Silent())
    evolution.finish(_Nobody())
    if record.warnings:
        raise Differs(record.warnings[0])
    results = record.evaluations().values()
    arrivals = sum(one.arrival > 0 if is_steady else one.generation <= plan.settings.generations for one in results)
    return Replayed(evolution.latest.next_id, arrivals, record.compared)


def retrain(run: RunDirectory, number: str, note: Callable[[str], None], evaluate: Trainer = evaluate) -> Retrained:
    """Train one individual again as its record says. `note` is told of other versions of libraries.

    UserError if the run keeps no such individual, nothing was trained of it, the corpus has changed, or it began with
    weights that are gone.
    """
    plan = read_plan(run.open())
    individual = run.find_individual(number)
    if individual.hash not in (history := run.history()):
        raise UserError(f"the evaluation of individual {number} is lost")
    task, then = history[individual.hash]
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
    parents = [one for one in parents if one.status is Status.OK]
    weights = [run.load_weights(one.hash) for one in parents]
    if None in weights:
        raise UserError(f"individual {child.id} began with the weights of its parents, which are kept no longer")
    return inherit(child.genome, [(one.genome, arrays) for one, arrays in zip(parents, weights, strict=True)])


class _Record(RunDirectory):
    """A run that looks as if it had just begun, but knows all results; what would be written is compared."""

    compared = 0  # generations

    def whole(self) -> list[Generation]:
        """The generations on disk."""
        return super().generations()

    def generations(self) -> list[Generation]:
        return []

    def write_generation(self, generation: Generation, unsettled: Collection[str] = ()) -> None:
        path = self.path / GENERATIONS / f"{generation.number:04d}.parquet"
        if not path.exists():
            if any(one.number > generation.number for one in self.whole()):
                raise Differs(f"generation {generation.number} is missing")
            return  # its writer was stopped just before
        if path.read_bytes() != tables.pack_generation(generation):
            recorded = next((one for one in self.whole() if one.number == generation.number), None)
            what = first_difference(recorded, generation) if recorded else self.warnings[-1]
            raise Differs(f"generation {generation.number}: {what}")
        self.compared += 1

    def append_evaluation(self, task: Task, evaluation: Evaluation) -> None:
        raise Differs(f"the evaluation of {task.hash} is missing, which the search asks for and which is infeasible")

    def clear_arrivals(self, first: int) -> None:
        for hash, one in self.evaluations().items():
            if one.arrival == first:
                raise Differs(f"arrival {first}: the search did not ask for {hash}, which is recorded")
        raise Differs(f"arrival {first}: its evaluation is missing")

    def load_weights(self, hash: str) -> Arrays:
        return {}

    def compact_evaluations(self, number: int, unsettled: Collection[str] = ()) -> None: ...

    def prune_weights(self, keep: set[str]) -> None: ...

    def prune_states(self, keep: set[str]) -> None: ...


class _Nobody:
    """A pool that trains nothing."""

    num_workers = 0
    pending = 0
    usage = UsageMeter(lambda: 0.0)

    def submit(self, job: Job) -> None:
        raise Differs(f"the search asks for {job.task.hash}, which is not recorded")

    def take(self) -> Result:
        raise AssertionError("nothing was submitted")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None: ...


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
