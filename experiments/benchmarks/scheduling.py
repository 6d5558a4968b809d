"""How busy a driver keeps up to 10,000 workers, with and without generations, in a virtual time.

The driver, the search and the bookkeeping are those of every run; workers and proxies are simulated. The processor time
of the driver passes in the virtual time too. One core, under five minutes. Without --out or --write the page is
printed; --write puts it under docs/.

    python experiments/benchmarks/scheduling.py [--workers 10 100] [--write]
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from measuring.page import ROOT, Page, Table
from memory_record import open_in_memory
from simulated_pool import SimulatedPool

from star.cost.target import Screen
from star.options import to_toml
from star.records import Evaluation, Job, Result, Status
from star.run.opening import open_search
from star.run.plan import plan_run
from star.run.progress import Progress
from star.run.settings import Settings
from star.run.summary import Clock
from star.storage.run_directory import RunDirectory

PAGE = ROOT / "docs" / "scheduling.md"
SPREAD = 0.29  # standard deviation of the logarithm of seconds, over 115 uniform samples of the default space at nano
SHORT, LONG = 9.0, 600.0  # seconds of a mean proxy: of the default run, and of one that is worth a cluster
SLOW = 1 / 3  # speed of every other worker, where workers are uneven
NARROW = 2_000  # proxies at most in generations of 32: what these leave idle shows by then
WORKERS = (10, 100, 1_000, 10_000)
READING = """\
Workers are simulated and the driver is real: it asks, tells, ranks and counts as in every run, and the processor time
that this takes passes in the virtual time in which proxies train. Proxies take a log-normal time around the mean, with
the spread that was measured (a standard deviation of {spread} of the logarithm, 115 samples of the default space at
nano); which ones take long is not foreseen. Quality is invented from the genome; nobody races. Only *recorded*
runs write files; what a synced file waits for the disk is not processor time, and comes on top.

*Busy* is the share of the workers' time in which they train, up to the moment at which the last proxy begins; *hours*
(or *minutes*) pass until the last result. In uneven columns every other worker is three times slower. *generations* has
a population of 64 with 32 offspring, as a run ordered by loss has by default: it cannot feed more than these.
*generations, as wide* has as many offspring, and as large a population, as there are workers. *steady* has a
population of 64.

A driver that needs *a* seconds for each result cannot keep more than *d* / *a* workers busy with proxies of *d*
seconds. The last table gives *a* and that limit."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a run is scheduled."""

    name: str
    mode: str
    is_wide: bool = False
    is_recorded: bool = False

    def config(self, workers: int, proxies: int) -> Settings:
        """A run of about as many proxies."""
        population = max(2, workers) if self.is_wide else min(64, proxies // 2)
        offspring = population if self.is_wide else population // 2
        generations = max(1, round((proxies - population) / offspring))
        return plan_run(
            Settings(
                population=population,
                offspring=offspring,
                generations=generations,
                mode=self.mode,
                ranking="loss",
                rungs=1,
                store="",
            )
        ).settings


GENERATIONS, WIDE = Way("generations", "generations"), Way("generations, as wide", "generations", True)
STEADY, RECORDED = Way("steady", "steady"), Way("steady, recorded", "steady", is_recorded=True)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one simulated run came to."""

    proxies: int
    busy: float
    seconds: float
    driver: float  # processor seconds of the driver for each proxy


def simulate(way: Way, speeds: Sequence[float], proxies: int, mean: float) -> Outcome:
    """One run of about `proxies` proxies that take `mean` seconds on a worker of speed 1."""
    config = way.config(len(speeds), proxies)
    screen, rng = plan_run(config).screen(), np.random.default_rng(config.seed)

    def duration(job: Job) -> float:
        return mean * math.exp(rng.normal(-(SPREAD**2) / 2, SPREAD))

    with TemporaryDirectory() as folder:
        plan, run = plan_run(config), RunDirectory(Path(folder) / "run")
        if way.is_recorded:
            run.create(to_toml(config))
        pool = SimulatedPool(lambda job: invent(job, screen), duration, speeds, time.process_time)
        begun = time.process_time()
        search = open_search(plan, run, Clock(), Progress()) if way.is_recorded else open_in_memory(plan)
        search.finish(pool)
        taken = time.process_time() - begun
        run.close()
    number = len(pool.spans)
    return Outcome(number, pool.utilisation(0.0, pool.spans[-1].begun), pool.now, taken / number)


def invent(job: Job, screen: Screen) -> Result:
    """A smooth quality: better with more parameters and with operators of more kinds, plus a little noise."""
    cost = screen.cost(job.task.genome)
    rng = np.random.default_rng(job.task.seed)
    kinds = len(set(job.task.genome[::5]))
    quality = 4 - 0.1 * math.log(cost.params) - 0.05 * kinds + 0.02 * rng.standard_normal()
    evaluation = Evaluation(
        hash=job.task.hash, status=Status.OK, objectives={"quality_bpb": quality} | cost.columns(), tokens=1
    )
    return Result(task=job.task, evaluation=evaluation)


def uneven(workers: int) -> list[float]:
    """Every other worker is slow."""
    return [1.0, SLOW] * (workers // 2)


def proxies_for(workers: int) -> int:
    """As many as a search on so many workers may have: fewer for each, the more there are."""
    return {10: 200, 100: 2_000, 1_000: 5_000}.get(workers, 15_000)


def busy_table(sizes: Sequence[int]) -> Table:
    """Workers that train long proxies."""
    rows = []
    for workers in sizes:
        for way in (GENERATIONS, WIDE, STEADY):
            cells = []
            for speeds in ([1.0] * workers, uneven(workers)):
                one = run_one(way, speeds, proxies_for(workers), LONG)
                cells += [f"{one.busy:.1%}", f"{one.seconds / 3600:.1f}"]
            rows.append((f"{workers:,}", way.name, f"{one.proxies:,}", *cells))
    return Table(
        "Proxies of ten minutes",
        "On workers of one speed, then on uneven ones.",
        ("workers", "mode", "proxies", "busy", "hours", "busy, uneven", "hours, uneven"),
        rows,
    )


def driver_table(sizes: Sequence[int]) -> Table:
    """Short proxies, for which the driver is soon too slow."""
    rows = []
    for workers in sizes:
        for way in (WIDE, STEADY, RECORDED)[: 2 + (workers <= 100)]:
            one = run_one(way, [1.0] * workers, proxies_for(workers), SHORT)
            limits = (f"{mean / one.driver:,.0f}" for mean in (SHORT, LONG))
            cells = (f"{one.busy:.1%}", f"{one.seconds / 60:.1f}", f"{1e3 * one.driver:.1f}", *limits)
            rows.append((f"{workers:,}", way.name, f"{one.proxies:,}", *cells))
    return Table(
        "Proxies of nine seconds, and the limit of the driver",
        "What the driver takes for each proxy, and how many workers it can therefore keep busy with proxies of nine "
        "seconds and of ten minutes.",
        ("workers", "mode", "proxies", "busy", "minutes", "driver, ms", "limit at 9 s", "limit at 10 min"),
        rows,
    )


def run_one(way: Way, speeds: Sequence[float], proxies: int, mean: float) -> Outcome:
    """The same, told on standard error."""
    if way is GENERATIONS:
        proxies = min(proxies, NARROW)
    one = simulate(way, speeds, proxies, mean)
    print(f"{len(speeds):,} workers, {way.name}: {one}", file=sys.stderr, flush=True)
    return one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS, metavar="N", help="even numbers of them")
    parser.add_argument("--out", type=Path, help="write the page to this file")
    parser.add_argument("--write", action="store_true", help="write the page under docs/")
    given = parser.parse_args()
    torch.set_num_threads(1)
    tables = [busy_table(given.workers), driver_table([one for one in given.workers if one >= 100])]
    page = Page("Scheduling", READING.format(spread=SPREAD), tables, torch.device("cpu"))
    page.deliver(PAGE if given.write else given.out)


if __name__ == "__main__":
    main()
