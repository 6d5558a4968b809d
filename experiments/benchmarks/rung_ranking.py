"""The rank agreement of each rung with the whole proxy and with a proxy of four times the tokens.

Trains random genomes and the named patterns on each corpus: once with the scale's own budget, measured at each rung as
a race measures, and once from another seed with four times the tokens. Prints Kendall's tau of the order at each rung,
and of the order by parameter count alone (more is taken for better), with both. Results are kept in a Parquet
file: the script continues where it stopped, and --report alone prints the tables again.

    python experiments/benchmarks/rung_ranking.py --corpus stdlib --corpus PATH [--genomes 20] [--report]
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measuring.page import Table
from scipy.stats import kendalltau

from star.architecture import catalogue
from star.architecture.genome import Space, canonical, genome_hash
from star.data.corpus import load_corpus
from star.evaluation.evaluate import evaluate
from star.records import Evaluation, Genome, Job, Task, derive_seed
from star.run.evolve import evaluation_settings
from star.run.plan import plan_run
from star.run.settings import Settings

RECORD = Path(__file__).parent / "tables" / "rungs.parquet"
CONFIG = plan_run(Settings(ranking="loss", rungs=4, eta=3)).settings
LONGER = 4
SCHEMA = pa.schema(
    [
        ("corpus", pa.string()),
        ("genome", pa.list_(pa.int8())),
        ("rungs", pa.list_(pa.float64())),
        ("quality_bpb", pa.float64()),
        ("longer_bpb", pa.float64()),
        ("params", pa.float64()),
        ("cache_bytes", pa.float64()),
    ]
)
Row = dict[str, object]


def genomes(number: int) -> list[Genome]:
    """Return the named patterns, then uniform samples."""
    space: Space = plan_run(CONFIG).search.space
    named = map(catalogue.load, catalogue.names())
    patterns = [one.at(CONFIG.slots) for one in named if one.scale is None]
    rng = np.random.default_rng(1)
    samples = [space.sample(rng) for _ in range(number)]
    return list(dict.fromkeys(map(canonical, (*patterns, *samples))))


def train(task: tuple[str, Genome]) -> Row:
    """Train a genome on a corpus and return its row."""
    source, genome = task
    os.nice(5)
    once = run(source, genome, CONFIG, 0)
    longer = run(source, genome, replace(CONFIG, tokens=LONGER * CONFIG.tokens), 1)
    return {
        "corpus": Path(source).name,
        "genome": list(genome),
        "rungs": list(once.rungs),
        "quality_bpb": once.objectives["quality_bpb"],
        "longer_bpb": longer.objectives["quality_bpb"],
        "params": once.objectives["params"],
        "cache_bytes": once.objectives["cache_bytes"],
    }


def run(source: str, genome: Genome, config: Settings, seed: int) -> Evaluation:
    """Train a proxy once and measure it at each rung."""
    settings = evaluation_settings(plan_run(config))
    hash = genome_hash(genome)
    task = Task(genome=genome, hash=hash, seed=derive_seed(seed, hash))
    return evaluate(Job(task=task), settings, load_corpus((source,), 32 << 20)).evaluation


def tau(one: list[float], other: list[float]) -> str:
    """Return Kendall's tau in two digits."""
    return f"{kendalltau(one, other).statistic:.2f}"


def rank_tables(rows: list[Row]) -> list[Table]:
    """Return a table per corpus: rank agreement with the proxy and with longer training."""
    return [_rank_table(corpus, rows) for corpus in dict.fromkeys(row["corpus"] for row in rows)]


def _rank_table(corpus: object, rows: list[Row]) -> Table:
    own = [row for row in rows if row["corpus"] == corpus]
    full, longer = ([row[name] for row in own] for name in ("quality_bpb", "longer_bpb"))
    steps = plan_run(CONFIG).trained.recipe.steps
    orders = {
        f"{stop} of {steps} steps": [row["rungs"][i] for row in own]
        for i, stop in enumerate(plan_run(CONFIG).race.steps)
    }
    cells = [(name, tau(values, full), tau(values, longer)) for name, values in orders.items()]
    size = [-row["params"] for row in own]
    cells += [("the whole proxy", "", tau(full, longer))]
    cells += [("parameter count, more is better", tau(size, full), tau(size, longer))]
    return Table(
        f"What a rung says of the end: {corpus}",
        f"Kendall's tau over {len(own)} genomes, the named patterns and uniform samples of nano. Median bits per byte "
        f"{median(full):.3f}, and {median(longer):.3f} after {LONGER} times the tokens, trained from another seed.",
        ("order by", "with the proxy", f"with {LONGER} times the tokens"),
        cells,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", action="append", default=[])
    parser.add_argument("--genomes", type=int, default=20, help="uniform samples beside the named patterns")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--report", action="store_true", help="train nothing")
    given = parser.parse_args()
    rows: list[Row] = pq.read_table(given.record).to_pylist() if given.record.exists() else []
    known = {(row["corpus"], tuple(row["genome"])) for row in rows}
    tasks = [(source, genome) for genome in genomes(given.genomes) for source in given.corpus or ["stdlib"]]
    missing = [task for task in tasks if (Path(task[0]).name, task[1]) not in known and not given.report]
    with ProcessPoolExecutor(given.processes) as pool:
        for row in pool.map(train, missing):
            rows.append(row)
            given.record.parent.mkdir(exist_ok=True)
            temporary = given.record.with_suffix(".tmp")
            pq.write_table(pa.Table.from_pylist(rows, SCHEMA), temporary, compression="zstd")
            os.replace(temporary, given.record)
    print("\n\n".join(table.markdown() for table in rank_tables(rows)))


if __name__ == "__main__":
    main()
