"""Does a race reach the hypervolume of full training with half of the tokens?

For each seed one run has no race. Another has one, and continues generation by generation while it has spent at most
half of the tokens of the first. Both are real runs, in directories that are kept and resumed. Hypervolumes use one
reference, that of the run without a race. With --longer both fronts are trained again, from another seed and with four
times the tokens, and compared once more: a race is useless if it finds what is good for a short training only. --write
puts the tables, with the rank agreement of the rungs (`rung_ranking.py`), into docs/racing.md.

    python experiments/benchmarks/racing.py --out DIRECTORY [--seeds 3] [--set tokens=60000] [--longer] [--write]
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from measuring.page import ROOT, Page, Table
from rung_ranking import LONGER, RECORD, rank_tables, run

from star.records import Generation, Individual
from star.run.evolve import evolve, resume
from star.run.plan import plan_run
from star.run.settings import Settings, from_toml
from star.search.front import hypervolume, objective_matrix, reference_box
from star.storage.run_directory import RunDirectory

PAGE = ROOT / "docs" / "racing.md"
SHARE = 0.5
CLOSE = 0.99
MOST = 100  # generations of a race
READING = """\
A race stops a candidate at a rung as soon as another is no worse in any exact cost and clearly better in quality there
(docs/decisions/0010-racing.md). Two questions: how well the order at a rung predicts the final order, and what a search
loses by relying on it. For the first, proxies of the default setting of nano were measured at each rung. A rung is
useful if it agrees better with four times the tokens than the parameter count alone, which costs nothing."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs from one seed: the last generation without a race, and all generations with one. Hypervolumes are in the
    units of the first."""

    seed: int
    full: Generation
    race: tuple[Generation, ...]

    @property
    def short(self) -> Generation:
        """Return the last generation of the race."""
        return self.race[-1]

    def volume(self, generation: Generation) -> float:
        """Return the hypervolume of a generation."""
        assert self.full.reference
        return hypervolume(objective_matrix(generation.front), self.full.reference)

    def even(self, share: float) -> str:
        """Return the share of tokens that the race needs to reach a share of the final hypervolume without one."""
        wanted = share * self.volume(self.full)
        spent = next((one.tokens for one in self.race if self.volume(one) >= wanted), None)
        return "not reached" if spent is None else f"{spent / self.full.tokens:.1%}"

    def cells(self) -> tuple[str, ...]:
        """Return a row of the table."""
        full, short = self.volume(self.full), self.volume(self.short)
        return (
            f"{self.seed}",
            f"{self.full.number} and {self.short.number}",
            f"{self.full.evaluations} and {self.short.evaluations}",
            f"{self.full.tokens:,}",
            f"{self.short.tokens / self.full.tokens:.1%}",
            f"{full:.4f}",
            f"{short:.4f}",
            f"{short / full:.1%}",
            self.even(CLOSE),
            self.even(1),
        )


@dataclass(frozen=True, slots=True)
class Later:
    """The fronts of both runs after longer training, in units of both together."""

    seed: int
    full: np.ndarray
    short: np.ndarray

    def cells(self) -> tuple[str, ...]:
        """Return a row of the table."""
        box = reference_box(np.vstack([self.full, self.short]))
        full, short = (hypervolume(one, box) for one in (self.full, self.short))
        sizes = f"{len(self.full)} and {len(self.short)}"
        bests = f"{self.full[:, 0].min():.3f} and {self.short[:, 0].min():.3f}"
        return f"{self.seed}", sizes, bests, f"{full:.4f}", f"{short:.4f}", f"{short / full:.1%}"


def train_longer(pair: Pair, config: Settings, path: Path) -> Later:
    """Train the fronts of both runs again; keep results in a JSON file."""
    known: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    longer = replace(config, tokens=LONGER * config.tokens, rungs=1)
    members = {one.hash: one.genome for front in (pair.full.front, pair.short.front) for one in front}
    missing = {hash: genome for hash, genome in members.items() if hash not in known}
    with ProcessPoolExecutor() as pool:
        jobs = {
            hash: pool.submit(run, config.corpus[0], genome, longer, pair.seed + 1) for hash, genome in missing.items()
        }
        for hash, job in jobs.items():
            known[hash] = job.result().objectives["quality_bpb"]
            path.write_text(json.dumps(known))

    def values(front: tuple[Individual, ...]) -> np.ndarray:
        return np.array([[known[one.hash], one.objectives["params"], one.objectives["cache_bytes"]] for one in front])

    return Later(pair.seed, values(pair.full.front), values(pair.short.front))


def setting(text: str) -> tuple[str, int]:
    """Read a setting such as tokens=60000."""
    key, value = text.split("=")
    return key, int(value)


def finish(path: Path, config: Settings) -> Generation:
    """Start or continue a run if needed, and return its last generation."""
    directory = RunDirectory(path)
    if not (path / "run.toml").exists():
        evolve(config, directory)
    elif (missing := config.generations - from_toml(directory.open().config_toml).generations) > 0:
        resume(directory, missing)
    elif (latest := directory.latest_generation()) is None or latest.number < config.generations:
        resume(directory)
    latest = RunDirectory(path).open().latest_generation()
    assert latest
    return latest


def race(path: Path, config: Settings, budget: float) -> tuple[Generation, ...]:
    """Return the generations of a race within a token budget."""
    number = 0
    while number < MOST and finish(path, replace(config, generations=number)).tokens <= budget:
        number += 1
    return tuple(one for one in RunDirectory(path).open().generations() if one.tokens <= budget)


def race_table(pairs: list[Pair], raced: Settings) -> Table:
    """Return the results of all pairs of runs."""
    return Table(
        "What a race finds with half of the tokens",
        f"Runs of {raced.population} genomes and {raced.tokens:,} tokens a proxy, without a race and with one of "
        f"{raced.rungs} rungs of ratio {raced.eta} that went on until another generation would have taken more than "
        f"{SHARE:.0%} of the tokens. Generations, proxies and hypervolumes are given without and with a race; the last "
        "columns say with how many of the tokens the race had come within 1% of the other's hypervolume, and to it.",
        (
            "seed",
            "generations",
            "proxies",
            "tokens",
            "the race's",
            "hypervolume",
            "the race's",
            "ratio",
            "within 1%",
            "even",
        ),
        [one.cells() for one in pairs],
    )


def later_table(laters: list[Later]) -> Table:
    """Return the hypervolumes of the fronts after longer training."""
    return Table(
        f"The same fronts after {LONGER} times the tokens",
        "Every member of both fronts trained again from another seed. Members, best bits per byte and hypervolume are "
        "given without and with a race; members that others dominate by then add nothing.",
        ("seed", "members", "best bits per byte", "hypervolume", "the race's", "ratio"),
        [one.cells() for one in laters],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rungs", type=int, default=3)
    parser.add_argument("--eta", type=int, default=3)
    parser.add_argument("--set", type=setting, action="append", default=[], help="population=16, tokens=60000, ...")
    parser.add_argument("--longer", action="store_true", help="train both fronts again, with four times the tokens")
    parser.add_argument("--write", action="store_true", help="the page docs/racing.md")
    given = parser.parse_args()
    pairs: list[Pair] = []
    laters: list[Later] = []
    for seed in range(given.seeds):
        plain = plan_run(
            Settings(seed=seed, store="", ranking="loss", **{"generations": 3, "rungs": 1} | dict(given.set))
        ).settings
        full = finish(given.out / f"full-{seed}", plain)
        raced = replace(plain, rungs=given.rungs, eta=given.eta)
        short = race(given.out / f"race-{seed}-{given.rungs}-{given.eta}", raced, SHARE * full.tokens)
        pairs.append(Pair(seed, full, short))
        print(" | ".join(pairs[-1].cells()), flush=True)
        if given.longer:
            laters.append(train_longer(pairs[-1], plain, given.out / f"longer-{seed}.json"))
            print(" | ".join(laters[-1].cells()), flush=True)
    tables = [*rank_tables(pq.read_table(RECORD).to_pylist()), race_table(pairs, raced)]
    tables += [later_table(laters)] if laters else []
    Page("Racing", READING, tables, torch.device("cpu")).deliver(PAGE if given.write else None)


if __name__ == "__main__":
    main()
