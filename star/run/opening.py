"""Make the driver of a run from its record."""

from collections.abc import Sequence

from star.errors import UserError
from star.options import read_record
from star.records import Generation
from star.run.core import NONE_YET
from star.run.driver import Driver
from star.run.estimates import read_longer
from star.run.generational import Generational
from star.run.latencies import refuse_latencies_of_proxies
from star.run.measurer import open_measurer
from star.run.plan import RunPlan
from star.run.progress import Progress
from star.run.settings import STEADY
from star.run.steady import Steady
from star.run.steps import Schedule
from star.run.summary import Clock
from star.storage.run_directory import RunDirectory


def open_search(plan: RunPlan, run: RunDirectory, clock: Clock, progress: Progress) -> Driver:
    """Return the driver of a new or recorded run, which goes on where its record ends."""
    recorded, rows = run.generations(), run.history()  # all generations, so that a damaged one is told of
    _refuse_other_objectives(set(plan.columns), recorded)
    refuse_latencies_of_proxies(plan, run)
    measurer = open_measurer(plan, run, progress.noted)
    latencies = measurer.table if measurer else None
    is_steady = plan.settings.mode == STEADY
    schedule: Schedule
    if is_steady:
        schedule = Steady(plan, rows, latencies)
    else:
        latest = recorded[-1] if recorded else NONE_YET
        schedule = Generational(plan, rows, latest, read_longer(plan, run), latencies)
    driver = Driver(schedule, run, clock, progress, corpus_digest(run), measurer)
    if isinstance(schedule, Steady):
        _follow_rows(schedule, recorded, run, driver, progress)
    core = schedule.core
    # Do what a process left undone that was killed just after it had written a generation.
    if core.is_finished:
        run.compact_evaluations(core.number - 1, schedule.incomplete())
    if core.is_finished or core.number and plan.settings.warm_weights:  # or who has heirs would depend on it
        run.prune_weights(schedule.with_weights())
    driver.tell_warnings()
    return driver


def corpus_digest(run: RunDirectory) -> str:
    """Return the digest of the corpus that a run was begun with; empty if none is recorded."""
    return read_record(run.config_toml).get("corpus_digest", "")


def _follow_rows(
    schedule: Steady, recorded: Sequence[Generation], run: RunDirectory, driver: Driver, progress: Progress
) -> None:
    """Make the files of generations those that follow from the rows, and the rows those that the schedule reached."""
    files = {one.number: one for one in recorded}
    for generation in schedule.views:
        then = files.get(generation.number)
        if then != generation:
            driver.write(generation)
        if then is None:
            progress.generation_finished(generation, schedule.core.usual_refusal)
        elif then != generation:
            progress.noted(
                f"generation {generation.number} follows otherwise from its evaluations than it was recorded, and is "
                f"recorded anew; with the old record, star replay {run.path} would tell the first difference"
            )
    if schedule.unreached:
        run.clear_arrivals(schedule.arrivals + 1)
        progress.noted(
            f"the record of arrivals breaks off after {schedule.arrivals}: {schedule.unreached} later results are used "
            "where the search asks for them again"
        )
    if max(files, default=-1) >= schedule.core.number:
        run.set_aside_generations(schedule.core.number)


def _refuse_other_objectives(columns: set[str], recorded: Sequence[Generation]) -> None:
    """Raise UserError if a run older than the record of its settings minimised other objectives."""
    for one in (one for generation in recorded for one in generation.front):
        if one.objectives.keys() != columns:
            raise UserError(
                f"the settings have the objectives {', '.join(sorted(columns))}, but the run was made with "
                f"{', '.join(sorted(one.objectives))}: set them back, or begin a new run"
            )
