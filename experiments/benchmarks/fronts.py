"""Does ordering by estimate find a better front than ordering by the loss of proxies, with no more tokens?

For each seed one search orders by the loss of its proxies and one by estimates, both with default settings, in
directories that are kept and resumed. Then every member of both fronts has been trained alike: on the tokens of the
verification, with the seed and the recipe of the search by estimate. Hypervolumes are those of these losses, parameters
and caches, in units of both fronts together. Results are kept in tables/fronts.json: a pair that is there is not
searched again. --write puts the table into docs/fronts.md.

    python experiments/benchmarks/fronts.py --out DIRECTORY [--seeds 5] [--write]
"""

import argparse
import json
import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from measuring.page import ROOT, Page, Table
from racing import finish

from star.data.corpus import Corpus, load_corpus
from star.evaluation.evaluate import evaluate
from star.records import Evaluation, Genome, Job
from star.run.evolve import evaluation_settings
from star.run.plan import RunPlan, plan_run
from star.run.settings import ESTIMATE, LOSS, Settings
from star.run.vocabulary import LEAST_TEXT
from star.search.front import hypervolume, reference_box
from star.storage.run_directory import RunDirectory

RECORD = Path(__file__).parent / "tables" / "fronts.json"
PAGE = ROOT / "docs" / "fronts.md"
READING = """\
Default searches from the same seeds: one orders candidates by the loss of their proxies and races them
(docs/decisions/0010-racing.md), one by the estimated loss after long training (docs/decisions/0017-estimates.md).
Tokens are all that a search trained on, longer trainings included. The second then verifies its front and the named
baselines; those tokens stand apart. Seconds are those of the workers, and for the second include the verification. To
compare them, the front of the first was verified in the same way afterwards, which its seconds do not include."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search and its verification cost, and the verified objectives of each member of its front."""

    trained: int
    tokens: int
    verification: int  # tokens
    seconds: float
    members: list[list[float]]

    @property
    def values(self) -> np.ndarray:
        return np.array(self.members)


def plan_of(seed: int, ranking: str) -> RunPlan:
    """Return the plan of one of the searches."""
    return plan_run(Settings(seed=seed, store="", ranking=ranking))


@cache
def read_corpus(name: str) -> Corpus:
    """Return a corpus, read once a process."""
    return load_corpus((name,), LEAST_TEXT)


def verify(genome: Genome, seed: int) -> Evaluation:
    """Train a genome as the verification of the search by estimate does."""
    os.nice(5)
    plan = plan_of(seed, ESTIMATE)
    tokens = plan.settings.verify_tokens
    assert tokens
    job = Job(task=plan.task(genome), tokens=tokens)
    return evaluate(job, evaluation_settings(plan), read_corpus(plan.settings.corpus[0])).evaluation


def verify_front(path: Path, run: RunDirectory, seed: int) -> dict[str, float]:
    """Return the verified quality of each member of a front, by hash; results are kept in a JSON file."""
    known: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    latest = run.latest_generation()
    assert latest
    missing = {one.hash: one.genome for one in latest.front if one.hash not in known}
    with ProcessPoolExecutor() as pool:
        jobs = {hash: pool.submit(verify, genome, seed) for hash, genome in missing.items()}
        for hash, job in jobs.items():
            known[hash] = job.result().objectives["quality_bpb"]
            path.write_text(json.dumps(known))
    return known


def measure(run: RunDirectory, verified: dict[str, float], budget: int) -> Found:
    """Return what a run found, with these qualities, and what it spent; `budget` is the tokens of its verification."""
    latest = run.latest_generation()
    assert latest
    trained = list(run.evaluations().values())
    verifications = run.verified(budget) if budget else {}
    spent = [*trained, *verifications.values()]
    spent += [row.evaluation for folder in run.path.glob("longer/*") for row in run.longer(int(folder.name)).values()]
    proxy = {one.hash: one.tokens for one in trained}
    longer = {hash for hash, _ in run.longer(budget)} if budget else set()
    own = sum(one.tokens - proxy.get(one.hash, 0) for one in verifications.values() if one.hash not in longer)
    costs = [[verified[one.hash], one.objectives["params"], one.objectives["cache_bytes"]] for one in latest.front]
    return Found(
        trained=sum(one.tokens > 0 for one in trained),
        tokens=latest.tokens,
        verification=own,
        seconds=round(sum(one.train_seconds for one in spent), 1),
        members=costs,
    )


def cells(seed: int, ones: tuple[Found, Found]) -> tuple[tuple[str, ...], float]:
    """Return a row of the table, and the ratio of the hypervolumes."""
    box = reference_box(np.vstack([one.values for one in ones]))
    loss, estimate = (hypervolume(one.values, box) for one in ones)
    pairs = (
        [f"{one.trained}" for one in ones],
        [f"{one.tokens:,}" for one in ones],
        [f"{one.verification:,}" for one in ones],
        [f"{one.seconds:,.0f}" for one in ones],
        [f"{len(one.values)}" for one in ones],
        [f"{one.values[:, 0].min():.3f}" for one in ones],
        [f"{loss:.4f}", f"{estimate:.4f}"],
    )
    return (f"{seed}", *(" and ".join(pair) for pair in pairs), f"{estimate / loss:.1%}"), estimate / loss


def search(seed: int, out: Path) -> tuple[Found, Found]:
    """Search with both rankings, as far as that is not done, and return what they found."""
    plans = {name: plan_of(seed, name) for name in (LOSS, ESTIMATE)}
    paths = {name: out / f"{name}-{seed}" for name in plans}
    for name, plan in plans.items():
        finish(paths[name], plan.settings)
    runs, plan = {name: RunDirectory(path).open() for name, path in paths.items()}, plans[ESTIMATE]
    budget = plan.settings.verify_tokens
    assert budget
    loss = verify_front(out / f"verified-{seed}.json", runs[LOSS], seed)
    latest = runs[ESTIMATE].latest_generation()
    assert latest
    trained = {key: row.evaluation for key, row in runs[ESTIMATE].longer(budget).items()}
    trained |= runs[ESTIMATE].verified(budget)
    firsts = [plan.task(one.genome) for one in latest.front]
    estimate = {task.hash: trained[task.hash, task.seed].objectives["quality_bpb"] for task in firsts}
    return measure(runs[LOSS], loss, 0), measure(runs[ESTIMATE], estimate, budget)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="the page docs/fronts.md")
    given = parser.parse_args()
    known = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    rows, ratios = [], []
    for seed in range(given.seeds):
        if str(seed) not in known:
            known[str(seed)] = [asdict(one) for one in search(seed, given.out)]
            RECORD.write_text(json.dumps(known, indent=1) + "\n")
        loss, estimate = (Found(**one) for one in known[str(seed)])
        row, ratio = cells(seed, (loss, estimate))
        rows.append(row)
        ratios.append(ratio)
        print(" | ".join(row), flush=True)
    note = f"Median ratio of hypervolumes {statistics.median(ratios):.1%}. Pairs: by loss and by estimate."
    heads = (
        "seed",
        "trained",
        "tokens",
        "verification",
        "seconds",
        "members",
        "best bits/byte",
        "hypervolume",
        "ratio",
    )
    table = Table(f"Verified fronts of {len(rows)} seeds", note, heads, rows)
    Page("Fronts by loss and by estimate", READING, [table], torch.device("cpu")).deliver(PAGE if given.write else None)


if __name__ == "__main__":
    main()
