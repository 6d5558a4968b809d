"""Does a race reach the hypervolume of full training with half of the tokens?

For each seed a run is made without a race, and one with it that goes on, generation after generation, for as long as
it has spent no more than half of the tokens of the first. Both are real runs, in directories that are kept and
resumed. Hypervolumes are measured against one reference, that of the run without a race. --write puts the table, and
what the rungs say of the end (`rung_ranking.py`), into docs/racing.md.

    python experiments/benchmarks/racing.py --out DIRECTORY [--seeds 3] [--set tokens=60000] [--write]
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet as pq
import torch
from measuring.page import ROOT, Page, Table
from rung_ranking import RECORD, rank_tables

from star.checkpoint import RunDirectory
from star.config import RunConfig, from_toml
from star.evolve import evolve, resume
from star.records import Generation
from star.search import hypervolume, objective_matrix

PAGE = ROOT / "docs" / "racing.md"
SHARE = 0.5
MOST = 100  # generations of a race
READING = """\
A race stops a candidate at a rung as soon as another is no worse in any exact cost and clearly better in quality there
(docs/decisions/0010-racing.md). Two questions: what the order at a rung is worth, and what a search loses that believes
it. For the first, the proxies of the default run of nano were measured on their way. A rung is worth having where it
says more of four times the tokens than the parameter count alone, which costs nothing."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs from one seed. Hypervolumes are in the units of the run without a race."""

    seed: int
    full: Generation
    short: Generation

    @property
    def volumes(self) -> tuple[float, float]:
        """Without and with a race."""
        assert self.full.reference
        full, short = (hypervolume(objective_matrix(one.front), self.full.reference) for one in (self.full, self.short))
        return full, short

    def cells(self) -> tuple[str, ...]:
        """A row of the table."""
        full, short = self.volumes
        return (
            f"{self.seed}",
            f"{self.full.number} and {self.short.number}",
            f"{self.full.evaluations} and {self.short.evaluations}",
            f"{self.full.tokens:,}",
            f"{self.short.tokens / self.full.tokens:.1%}",
            f"{full:.4f}",
            f"{short:.4f}",
            f"{short / full:.1%}",
        )


def setting(text: str) -> tuple[str, int]:
    """One that differs from the default."""
    key, value = text.split("=")
    return key, int(value)


def finish(path: Path, config: RunConfig) -> Generation:
    """The last generation of a run, which is begun or gone on with if need be."""
    run = RunDirectory(path)
    if not (path / "run.toml").exists():
        evolve(config, run)
    elif (missing := config.generations - from_toml(run.open().config_toml).generations) > 0:
        resume(run, missing)
    elif (latest := run.latest_generation()) is None or latest.number < config.generations:
        resume(run)
    latest = RunDirectory(path).open().latest_generation()
    assert latest
    return latest


def race(path: Path, config: RunConfig, budget: float) -> Generation:
    """The last generation of a race that stays within a budget of tokens."""
    number = 0
    while number < MOST and finish(path, replace(config, generations=number)).tokens <= budget:
        number += 1
    return [one for one in RunDirectory(path).open().generations() if one.tokens <= budget][-1]


def race_table(pairs: list[Pair], raced: RunConfig) -> Table:
    """What the runs came to."""
    return Table(
        "What a race finds with half of the tokens",
        f"Runs of {raced.population} genomes and {raced.tokens:,} tokens a proxy, without a race and with one of "
        f"{raced.rungs} rungs of ratio {raced.eta} that went on until another generation would have taken more than "
        f"{SHARE:.0%} of the tokens. Generations, proxies and hypervolumes are given without and with a race.",
        ("seed", "generations", "proxies", "tokens", "the race's", "hypervolume", "the race's", "ratio"),
        [one.cells() for one in pairs],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rungs", type=int, default=3)
    parser.add_argument("--eta", type=int, default=3)
    parser.add_argument("--set", type=setting, action="append", default=[], help="population=16, tokens=60000, ...")
    parser.add_argument("--write", action="store_true", help="the page docs/racing.md")
    given = parser.parse_args()
    pairs: list[Pair] = []
    for seed in range(given.seeds):
        plain = RunConfig(seed=seed, store="", **dict(given.set)).resolved()
        full = finish(given.out / f"full-{seed}", plain)
        raced = replace(plain, rungs=given.rungs, eta=given.eta)
        short = race(given.out / f"race-{seed}-{given.rungs}-{given.eta}", raced, SHARE * full.tokens)
        pairs.append(Pair(seed, full, short))
        print(" | ".join(pairs[-1].cells()), flush=True)
    tables = [*rank_tables(pq.read_table(RECORD).to_pylist()), race_table(pairs, raced)]
    Page("Racing", READING, tables, torch.device("cpu")).deliver(PAGE if given.write else None)


if __name__ == "__main__":
    main()
