"""Train 2,000 nano genomes and record them in one Parquet file, on which searchers can then be compared in seconds.

The first half are uniform samples, the others descend from the best of those before them, by crossover and mutation, so
that the table also knows the region to which a search moves. Each is trained on the standard library's source at the
nano recipe with 60,000 tokens, and measured at three rungs on the way. A row has the genome, the quality at each rung
and at the end, parameters and cache. Existing rows are kept: the script continues where it stopped.

    python experiments/benchmarks/record_table.py [--genomes 2000] [--processes 2]
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from star.architecture.genome import Space, canonical, genome_hash
from star.data.corpus import Corpus, load_corpus
from star.evaluation.evaluate import evaluate
from star.records import Evaluation, Genome, Job, Status, Task, derive_seed
from star.run.evolve import evaluation_settings
from star.run.plan import plan_run
from star.run.settings import Settings
from star.search.front import front_mask

TABLE = Path(__file__).parent / "tables" / "nano.parquet"
CONFIG = plan_run(Settings(ranking="loss", tokens=60_000, rungs=4, eta=3)).settings
COLUMNS = ("quality_bpb", "params", "cache_bytes")
BATCH = 50  # genomes drawn and written at once
LAYERS = 3  # non-dominated layers whose genomes are parents

_corpus: Corpus


@dataclass(frozen=True, slots=True)
class Row:
    """One trained genome."""

    genome: Genome
    status: str
    rungs: tuple[float, ...]
    objectives: tuple[float, ...]  # NaN after a failure
    loss_curve: tuple[float, ...]
    seconds: float


def start() -> None:
    """Prepare a process: low priority, and the corpus."""
    global _corpus
    os.nice(19)
    _corpus = load_corpus(CONFIG.corpus, 32 << 20)


def train(genome: Genome) -> Row:
    """Train one genome and return its row."""
    hash = genome_hash(genome)
    settings = evaluation_settings(plan_run(CONFIG))
    task = Task(genome=genome, hash=hash, seed=derive_seed(CONFIG.seed, hash))
    return _row(genome, evaluate(Job(task=task), settings, _corpus).evaluation)


def _row(genome: Genome, evaluation: Evaluation) -> Row:
    values = tuple(evaluation.objectives.get(column, float("nan")) for column in COLUMNS)
    curve = evaluation.loss_curve
    return Row(genome, str(evaluation.status), evaluation.rungs, values, curve, evaluation.train_seconds)


def draw(rows: list[Row], total: int, rng: np.random.Generator) -> list[Genome]:
    """Draw the next genomes, without duplicates."""
    space = Space(CONFIG.slots, CONFIG.deck)
    seen, drawn = {row.genome for row in rows}, []
    parents = [] if len(rows) < total // 2 else best(rows)
    while len(drawn) < BATCH:
        if parents:
            a, b = (parents[i] for i in rng.choice(len(parents), 2, replace=False))
            genome = space.repair(space.mutate(space.crossover(a, b, rng)[0], rng))
        else:
            genome = space.sample(rng)
        if (genome := canonical(genome)) not in seen:
            seen.add(genome)
            drawn.append(genome)
    return drawn


def best(rows: list[Row]) -> list[Genome]:
    """Return the genomes of the first non-dominated layers."""
    rest = [row for row in rows if row.status == Status.OK]
    found: list[Genome] = []
    for _ in range(LAYERS):
        mask = front_mask(np.array([row.objectives for row in rest]))
        found += [row.genome for row, is_best in zip(rest, mask, strict=True) if is_best]
        rest = [row for row, is_best in zip(rest, mask, strict=True) if not is_best]
    return found


def read(path: Path) -> list[Row]:
    """Read the rows of a table, none if it does not exist."""
    if not path.exists():
        return []
    rows = pq.read_table(path).to_pylist()
    return [
        Row(
            genome=tuple(row["genome"]),
            status=row["status"],
            rungs=tuple(row["rungs"]),
            objectives=tuple(row[column] for column in COLUMNS),
            loss_curve=tuple(row["loss_curve"]),
            seconds=row["seconds"],
        )
        for row in rows
    ]


def write(path: Path, rows: list[Row]) -> None:
    """Replace the table."""
    schema = pa.schema(
        [
            ("genome", pa.list_(pa.int8())),
            ("status", pa.string()),
            ("rungs", pa.list_(pa.float32())),
            *((column, pa.float64()) for column in COLUMNS),
            ("loss_curve", pa.list_(pa.float32())),
            ("seconds", pa.float32()),
        ]
    )
    plain = [
        {name: getattr(row, name) for name in ("genome", "status", "rungs", "loss_curve", "seconds")}
        | dict(zip(COLUMNS, row.objectives, strict=True))
        for row in rows
    ]
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".tmp")
    pq.write_table(pa.Table.from_pylist(plain, schema), temporary, compression="zstd")
    os.replace(temporary, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genomes", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--table", type=Path, default=TABLE)
    given = parser.parse_args()
    rows = read(given.table)
    with ProcessPoolExecutor(given.processes, initializer=start) as pool:
        while len(rows) < given.genomes:
            batch = draw(rows, given.genomes, np.random.default_rng([CONFIG.seed, len(rows)]))
            rows += pool.map(train, batch)
            write(given.table, rows)
            print(f"{len(rows)} of {given.genomes}", flush=True)


if __name__ == "__main__":
    main()
