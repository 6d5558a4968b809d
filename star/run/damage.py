"""Find what a run has lost to damaged files, and whether a finished run is complete."""

from collections import Counter

from star.records import UNTRAINED
from star.run.estimates import read_longer
from star.run.plan import RunPlan
from star.run.summary import Clock, Summary
from star.storage.run_directory import RunDirectory


def lost_generations(run: RunDirectory) -> list[int]:
    """Return the numbers below that of the latest generation whose files are missing."""
    there = {one.number for one in run.generations()}
    return [number for number in range(max(there, default=0)) if number not in there]


def lost_evaluations(run: RunDirectory, plan: RunPlan) -> list[int]:
    """Return the recorded generations of which evaluations are missing, or longer trainings.

    How many each has trained is known from its own count and that of the generation before.
    """
    generations = {one.number: one for one in run.generations()}
    known = run.history()
    rows = known.values()
    trained = Counter(one.order.generation for one in rows if one.evaluation.status not in UNTRAINED)
    longer = Counter(one.order.generation for one in read_longer(plan, run).values())
    lost = {number for number in run.damaged_evaluations() if number <= max(generations, default=-1)}
    for number, generation in generations.items():
        before = generations.get(number - 1)
        counted = generation.evaluations - (before.evaluations if before else 0)
        if (before or number == 0) and trained[number] < counted:
            lost.add(number)
        if (before or number == 0) and longer[number] < generation.longer - (before.longer if before else 0):
            lost.add(number)
        members = (*generation.individuals, *generation.front)
        lost |= {one.generation for one in members if one.hash not in known}
    return sorted(lost)


def summarise_finished(run: RunDirectory, plan: RunPlan) -> Summary | None:
    """Return the summary of a run for which nothing is left to do; None if there is something.

    A run is finished when its last generation, the weights of its front and all that it recorded before are on disk and
    undamaged, and nothing is on disk that it does not keep. Neither the corpus nor torch is loaded to see that.
    """
    generations = run.generations()
    latest = generations[-1] if generations else None
    if latest is None or latest.number < plan.settings.generations or len(generations) <= latest.number:
        return None
    kept = {one.hash for one in latest.front}
    if any(run.load_weights(hash) is None for hash in kept):
        return None
    kept |= {one.hash for one in latest.individuals if plan.settings.warm_weights}
    evaluations = run.evaluations()
    if not run.is_tidy(kept) or run.warnings or lost_evaluations(run, plan):
        return None
    return Clock().summarise(str(run.path), plan, latest, evaluations.values())
