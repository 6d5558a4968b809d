"""Lines on standard error while a search runs: one for each generation, and on a terminal a bar below them."""

import time
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as ProgressBar

from star.cli.console import count, duration, printable, stderr
from star.records import STORE, Evaluation, Generation, Status
from star.report.front import quality_of
from star.run.plan import RunPlan
from star.run.progress import Progress
from star.run.verification import Verification
from star.tracking.scalars import of_generation
from star.tracking.trackers import Trackers


class Watcher(Progress):
    """Prints the progress of a search on standard error, and passes generations to the trackers of its settings, which
    record in the directory of the run. A context manager: leaving it takes the bar away."""

    def __init__(self, plan: RunPlan, directory: Path) -> None:
        self._trackers = Trackers(plan.settings.track, directory, asdict(plan.settings), self.noted)
        self._console = stderr()
        self._offspring = plan.settings.offspring
        is_probed = any(one.tasks for one in plan.objectives)
        self._unit = "bits/byte" if any(one.needs_text for one in plan.objectives) else "wrong" * is_probed
        self._bar = ProgressBar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("proxies{task.fields[news]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, news="", visible=False)
        self._generations = 0  # the number of the last one
        self._latest: Generation | None = None  # from which the search goes on
        self._number = 0
        self._begun = time.perf_counter()
        self._trained = 0  # proxies since then
        self._pending = 0  # proxies of this generation still to come
        self._qualities: list[float] = []  # of this generation's proxies

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        self._trackers.close()

    def run_started(self, generations: int, latest: Generation | None) -> None:
        self._generations, self._latest = generations, latest
        where = f"after generation {latest.number}" if latest else "from the start"
        self._tell(f"searching {where} to generation {generations}; starting the workers")

    def workers_ready(self, num_workers: int, startup_seconds: float) -> None:
        self._tell(f"{count(num_workers, 'worker')} ready after {duration(startup_seconds)}")
        self._begun = time.perf_counter()
        if self._latest:  # again, in case the process was killed before it was passed on
            self._track(self._latest)

    def generation_started(self, number: int, proposals: int, proxies: int) -> None:
        self._number, self._pending, self._qualities = number, proxies, []
        description = f"generation {number}/{self._generations}"
        self._bar.reset(self._task, total=proxies, description=description, news="", visible=True)

    def evaluated(self, evaluation: Evaluation) -> None:
        self._trained += evaluation.worker != STORE
        self._pending -= 1
        if evaluation.status is Status.OK:
            self._qualities.append(quality_of(evaluation.objectives))
        elif evaluation.status is not Status.STOPPED:
            self._tell(f"proxy {evaluation.hash} {evaluation.status}: {evaluation.error}")
        news = [_best_and_median(self._qualities, self._unit), self._time_left()]
        self._bar.update(self._task, advance=1, news="".join(f", {one}" for one in news if one))

    def generation_finished(self, generation: Generation, refusal: str) -> None:
        alive = [one for one in generation.individuals if one.status is Status.OK]
        failed = sum(generation.failures.values())
        failures = f", {failed} failed ({failed / generation.evaluations:.1%})" if failed else ""
        parts = [
            f"generation {generation.number}/{self._generations}",
            f"{count(generation.evaluations, 'proxy')}{failures}",
            _best_and_median([quality_of(one.objectives) for one in alive], self._unit),
            f"hypervolume {generation.hypervolume:.4f}",
            f"front {len(generation.front)}",
        ]
        if generation.turned_away:
            parts.append(f"{generation.turned_away} rejected before training")
        infeasible = sum(one.status is Status.INFEASIBLE for one in generation.individuals)
        if infeasible:
            mostly = f", mostly: {refusal}" if refusal else ""
            parts.append(f"{infeasible} of {len(generation.individuals)} infeasible{mostly}")
        # Without the time left: it is stale as soon as the line scrolls away, and the bar tells it anew.
        self._tell("  ".join(filter(None, parts)))
        self._track(generation)

    def verification_started(self, trainings: int) -> None:
        self._number, self._pending, self._qualities = self._generations, trainings, []
        self._bar.reset(self._task, total=trainings, description="verification", news="", visible=True)

    def verified(self, verification: Verification | None) -> None:
        """Pass the best verified quality to the trackers, if there is one."""
        if verification and (front := verification.front):
            best = min(one.mean for one in front)
            self._trackers.log(
                self._generations, {"verified_best/quality_bpb": best, "verified_front_size": float(len(front))}
            )

    def noted(self, sentence: str) -> None:
        self._tell(f"note: {sentence}")

    def _track(self, generation: Generation) -> None:
        self._trackers.log(generation.number, of_generation(generation))

    def _tell(self, line: str) -> None:
        self._console.print(printable(line))

    def _time_left(self) -> str:
        """Return the time left at the pace so far; empty if nothing was trained yet. Neither duplicates nor results in
        the store are foreseen, so this is rather too long than too short."""
        if not self._trained:
            return ""
        to_come = self._pending + (self._generations - self._number) * self._offspring
        return f"{duration(to_come * (time.perf_counter() - self._begun) / self._trained)} left"


def _best_and_median(qualities: list[float], unit: str) -> str:
    if not qualities:
        return "no quality yet"
    return f"best {min(qualities):.3f}, median {median(qualities):.3f} {unit}"
