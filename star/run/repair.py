"""Making again what damage to its files took from a run, so that it goes on as it would have gone on without it.

The search of a recorded generation follows from the generation before and from evaluations, so that it can be asked
once more: what it asks for and is not recorded any more is trained again, from the same seed.
"""

from collections.abc import Callable
from dataclasses import replace

from star.records import Generation
from star.run.core import NONE_YET
from star.run.damage import lost_evaluations, lost_generations
from star.run.driver import Driver
from star.run.estimates import read_longer
from star.run.generational import Generational
from star.run.measurer import open_measurer
from star.run.opening import corpus_digest
from star.run.plan import RunPlan
from star.run.progress import Progress
from star.run.settings import STEADY
from star.run.summary import Clock
from star.storage.run_directory import RunDirectory
from star.workers.pool import Pool


def find_loss(plan: RunPlan, run: RunDirectory, note: Callable[[str], None]) -> int | None:
    """Return the first generation of which something is lost that can be made again; None if there is none.

    `note` is told what is lost. A steady run needs no repair, because it always follows its evaluations from the first.
    """
    evaluations, generations = lost_evaluations(run, plan), lost_generations(run)
    if plan.settings.mode == STEADY or not (evaluations or generations):
        return None
    if evaluations and plan.settings.warm_weights:
        note(
            f"evaluations of generation {evaluations[0]} are lost and cannot be made again, because children began with"
            " weights of their parents: what follows may differ from what would have followed without the damage"
        )
        return None
    first = min(evaluations + generations)
    note(f"files of generation {first} are damaged or missing: what was in them is made again")
    return first


def repair(first: int, plan: RunPlan, run: RunDirectory, clock: Clock, progress: Progress, pool: Pool) -> None:
    """Make again what is lost of a run from generation `first` on, as far as the run is recorded. Generations that are
    there are compared; those that are missing are written once a later one confirms them."""
    recorded = {one.number: one for one in run.generations()}
    plan = replace(plan, settings=replace(plan.settings, generations=max(recorded)))
    measurer = open_measurer(plan, run, progress.noted)
    latencies = measurer.table if measurer else None
    before = recorded.get(first - 1, NONE_YET)
    schedule = Generational(plan, run.history(), before, read_longer(plan, run), latencies)
    unconfirmed: list[Generation] = []
    driver = Driver(schedule, run, clock, progress, corpus_digest(run), measurer)
    driver.tell_warnings()
    for generation in driver.generations(pool):
        run.prune_states(set())
        others = {hash for hash, one in schedule.core.known.items() if one.order.generation != generation.number}
        run.compact_evaluations(generation.number, others)
        then = recorded.get(generation.number)
        if then is None:
            unconfirmed.append(generation)
        elif then != generation:
            progress.noted(
                f"generation {generation.number} comes out otherwise than it is recorded: the record is kept, and what "
                "follows may differ from what would have followed without the damage"
            )
            return
        else:
            for one in unconfirmed:
                run.write_generation(one, others)
            unconfirmed.clear()
