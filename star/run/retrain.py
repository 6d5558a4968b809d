"""One recorded proxy trained again: does the same come out?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from star.errors import UserError
from star.evaluation.evaluate import evaluate
from star.options import read_record
from star.records import Arrays, Evaluation, Individual, Job, Status
from star.run.evolve import Trainer, evaluation_settings, load_same_corpus
from star.run.inheritance import WeightsLost, inherit_trained
from star.run.plan import RunPlan, read_plan
from star.storage.run_directory import RunDirectory

TRAINED = (Status.OK, Status.STOPPED, Status.DIVERGED)  # what training again must come to as well
COMPARED = ("status", "loss_curve", "rungs", "tokens")  # of evaluations, besides objectives


@dataclass(frozen=True, slots=True)
class Retrained:
    """One proxy as it is recorded, and as it came out when it was trained again."""

    id: int
    recorded: Evaluation
    again: Evaluation

    def differences(self) -> dict[str, tuple[Any, Any]]:
        """Return the recorded and the repeated value of everything that differs, by name. Times are not compared, nor
        what only one of the two has.
        """
        then, now = self.recorded, self.again
        if then.status is now.status is Status.DIVERGED:
            return {}  # what is recorded besides is of the rungs before, at which this training did not stop
        common = [name for name in then.objectives if name in now.objectives]
        pairs = {name: (then.objectives[name], now.objectives[name]) for name in common}
        pairs |= {name: (getattr(then, name), getattr(now, name)) for name in COMPARED}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


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
    corpus = load_same_corpus(plan, run, read_record(run.config_toml), note)
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
