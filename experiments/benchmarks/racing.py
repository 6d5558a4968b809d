"""Does a race reach the hypervolume of full training with half of the tokens?

For each seed the default run is made once without a race, and once with one that goes on, generation after generation,
for as long as it has spent no more than half of the tokens of the first. Both are real runs, in directories that are
kept and resumed. Hypervolumes are measured against one reference, that of the run without a race.

    python experiments/benchmarks/racing.py --out /tmp/racing [--seeds 3] [--set tokens=60000] [--rungs 3] [--eta 3]
"""

import argparse
from dataclasses import replace
from pathlib import Path

from star.checkpoint import RunDirectory
from star.config import RunConfig, from_toml
from star.evolve import evolve, resume
from star.records import Generation
from star.search import hypervolume, objective_matrix

SHARE = 0.5
MOST = 100  # generations of a race


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
    best = finish(path, replace(config, generations=0))
    while best.number < MOST:
        following = finish(path, replace(config, generations=best.number + 1))
        if following.tokens > budget:
            break
        best = following
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rungs", type=int, default=3)
    parser.add_argument("--eta", type=int, default=3)
    parser.add_argument("--set", type=setting, action="append", default=[], help="population=16, tokens=60000, ...")
    given = parser.parse_args()
    print(f"{'seed':>4} {'tokens':>12} {'race':>12} {'share':>6} {'full':>8} {'race':>8} {'ratio':>6}  generations")
    for seed in range(given.seeds):
        plain = RunConfig(seed=seed, store="", **dict(given.set))
        full = finish(given.out / f"full-{seed}", plain)
        raced = replace(plain, rungs=given.rungs, eta=given.eta)
        short = race(given.out / f"race-{seed}-{given.rungs}-{given.eta}", raced, SHARE * full.tokens)
        volumes = [hypervolume(objective_matrix(one.front), full.reference) for one in (full, short)]
        print(
            f"{seed:4} {full.tokens:12,} {short.tokens:12,} {short.tokens / full.tokens:6.1%} "
            f"{volumes[0]:8.4f} {volumes[1]:8.4f} {volumes[1] / volumes[0]:6.1%}  {full.number} and {short.number}",
            flush=True,
        )


if __name__ == "__main__":
    main()
