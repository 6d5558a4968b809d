"""The overhead of a search: milliseconds per trial, and the time that a killed driver needs to continue.

Evaluations do nothing, or sleep where drivers are killed. star is measured end to end, with all that `star evolve`
writes. Optuna and Ray Tune need the extra: pip install -e ".[bench]". Without --out or --write the page is printed;
--write puts it under docs/. Times depend on the disk, which has to confirm each write, and on what else runs.

    python experiments/benchmarks/overhead.py [--quick] [--rounds 3] [--write]
"""

import argparse
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from comparing.event_log import SECONDS
from comparing.recovery import Recovery, evaluated, kill_and_resume
from comparing.star_trials import time_on_ray, time_serial
from measuring.clock import Times, milliseconds_text, ratio_text
from measuring.page import ROOT, Page, Table

PAGE = ROOT / "docs" / "overhead.md"
KILLS = (20, 45)  # evaluations that have ended when a driver is killed: in the first generation of 32, and later
KILLED_TRIALS = 64
READING = """\
A genome has 40 integers, an evaluation returns three invented numbers at once, and the population is 32. Times are
those of a whole search divided by its trials. Systems run in turn, once per round; cells are medians over {rounds}
rounds with minimum and maximum. Worker processes are started before the clock.
Versions: Optuna {optuna}, Ray {ray}."""


class System(NamedTuple):
    """A search without training, and the number of trials to time."""

    seconds: Callable[[int], float]
    trials: int
    keeps: str  # what is on disk after a kill


OURS = "star, one process"
SYSTEMS = {
    OURS: System(time_serial, 96, "each evaluation, each generation, weights of the front"),
    "star, two Ray actors": System(time_on_ray, 96, "the same"),
}
DRIVERS: dict[str, tuple[str, ...]] = {"star": ("drive_star",)}
if find_spec("optuna"):
    from comparing.optuna_trials import time_in_memory, time_journal, time_sqlite

    SYSTEMS |= {
        "optuna nsga2, in memory": System(time_in_memory, 96, "nothing"),
        "optuna nsga2, journal file": System(time_journal, 96, "each step of each trial"),
        "optuna nsga2, SQLite": System(time_sqlite, 32, "each step of each trial"),
    }
    DRIVERS |= {
        "optuna, journal file, with a seed": ("drive_optuna", "0"),
        "optuna, journal file, without": ("drive_optuna",),
    }
if find_spec("optuna") and find_spec("tensorboardX") and find_spec("pandas"):
    from comparing.tune_trials import time_fresh_actors, time_reused_actors

    SYSTEMS |= {
        "ray tune, random, reuse_actors": System(time_reused_actors, 32, "the experiment, now and then"),
        "ray tune, random, default": System(time_fresh_actors, 8, "the same"),
    }
    DRIVERS |= {"ray tune, restored": ("drive_tune",)}


def note(*words: object) -> None:
    """Print progress to standard error."""
    print(*words, file=sys.stderr, flush=True)


def trial_table(names: list[str], rounds: int) -> Table:
    """Return milliseconds per trial, and ratios to star."""
    times: Times = {name: [] for name in names}
    for round in range(rounds):
        for name in names:
            note(f"round {round + 1} of {rounds}: {name}")
            times[name].append(SYSTEMS[name].seconds(SYSTEMS[name].trials))
    rows = []
    for name in names:
        _, trials, keeps = SYSTEMS[name]
        rows.append((name, milliseconds_text(times, name), ratio_text(times, name, OURS), str(trials), keeps))
    return Table(
        "Milliseconds for a trial",
        "The last column says what is on the disk by then. Ray Tune draws genomes at random here, which takes no time.",
        ("system", "ms", f"ratio to {OURS}", "trials", "on the disk"),
        rows,
    )


def recovery_table(names: list[str], kills: tuple[int, ...]) -> Table:
    """Return the recovery after kills."""
    rows = []
    for name in names:
        note("killed:", name)
        whole = evaluated(DRIVERS[name], KILLED_TRIALS)
        found = [kill_and_resume(DRIVERS[name], KILLED_TRIALS, after, whole) for after in kills]
        rows += [(f"{name}, after {after}", *recovery_cells(one)) for after, one in zip(kills, found, strict=True)]
    return Table(
        "After kill -9",
        f"The driver of a search of {KILLED_TRIALS} trials of {1000 * SECONDS:g} ms is killed in the middle of an "
        "evaluation when so many have ended, and begun again with the same command. Seconds are those from the new "
        "process, the start of Python and all imports included, to its first evaluation of an architecture that had "
        "not ended. Of the evaluations under way some are never made again (lost); of those that had ended some are "
        "made again (repeated). Alike: in the end the same architectures were evaluated as without a kill.",
        ("system, killed after", "seconds", "under way", "lost", "repeated", "alike"),
        rows,
    )


def recovery_cells(one: Recovery) -> tuple[str, ...]:
    """Return the recovery as cells of a table."""
    counts = (str(count) for count in (one.under_way, one.lost, one.repeated))
    return (f"{one.seconds:.1f}", *counts, "yes" if one.alike else "no")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="SYSTEM")
    parser.add_argument("--drivers", nargs="*", choices=DRIVERS, default=list(DRIVERS), metavar="DRIVER")
    parser.add_argument("--quick", action="store_true", help="one round of our own process, to see that it works")
    parser.add_argument("--out", type=Path, help="write the page to this file")
    parser.add_argument("--write", action="store_true", help="write the page under docs/")
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.systems, given.drivers = 1, [OURS], given.drivers[:1]
    if OURS not in given.systems:
        parser.error(f"ratios are to {OURS!r}, which --systems leaves out")
    return given


def installed(name: str) -> str:
    """Return the version of a distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def main() -> None:
    given = read_arguments()
    torch.set_num_threads(1)
    reading = READING.format(rounds=given.rounds, optuna=installed("optuna"), ray=installed("ray"))
    tables = [trial_table(given.systems, given.rounds)]
    if given.drivers:
        tables.append(recovery_table(given.drivers, KILLS[: 1 if given.quick else None]))
    page = Page("What a search costs besides training", reading, tables, torch.device("cpu"))
    page.deliver(PAGE if given.write else given.out)


if __name__ == "__main__":
    main()
