"""Train nano architectures for 30 times the tokens of the default proxy and record their learning curves.

The table is the reference against which proxy.py measures how well a short training orders architectures. The
architectures are listed in tables/long.toml by kind: named patterns, uniform samples of the two decks, and close
neighbours from fronts of real runs. Each is trained on the source of the standard library and on prose. The rate is
constant for as long as a proxy takes, then falls with the square root of the steps, and in the last fifth of them to
zero. A row holds bits per byte at each mark, of the latest weights and of their average: of all bytes, of those whose
bigram occurred before in the window, and of the rest.

Rows are written as they come: the script continues where it stopped.

    python experiments/benchmarks/record_long.py [--processes 2] [--corpus stdlib --corpus prose] [--hours 2]
    python experiments/benchmarks/record_long.py --prior       write the prior of the estimates from the table
    python experiments/benchmarks/record_long.py --draw RUN... add the fronts of these runs to tables/long.toml
"""

import argparse
import csv
import json
import os
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from measuring.initialisation import paired_weights
from measuring.losses import ClassLosses, measure_classes

from star.architecture import catalogue
from star.architecture.genome import Space, canonical, decode, parse, to_text
from star.architecture.scales import SCALES, Recipe
from star.architecture.spec import Dimensions
from star.architecture.structures import specify
from star.cost.target import Target
from star.data.corpus import Corpus, load_corpus
from star.evaluation.prior import CORPUS, FOLDER, GENOME, SEED
from star.model.language_model import LanguageModel
from star.records import Genome
from star.storage.run_directory import RunDirectory
from star.training.batches import Windows
from star.training.loop import Training
from star.training.loss import Diverged

TABLES = Path(__file__).parent / "tables"
ARCHITECTURES, TABLE = TABLES / "long.toml", TABLES / "long.parquet"
CORPORA = ("stdlib", "prose")
PRIOR = FOLDER / "nano.csv"
NANO = SCALES["nano"]
TARGET = Target(dims=NANO.dims, context=NANO.dims.seq_len, dtype_bytes=2)
UNIT = NANO.recipe.steps  # of the default proxy
LENGTH = 30  # times as many steps
MARKS = tuple(sorted({UNIT // 9, UNIT // 3, *(UNIT * i for i in (1, 2, 4, 8, 10, 16, 24, LENGTH))}))
STEP = NANO.recipe.batch_size * NANO.recipe.seq_len
RECIPE = replace(
    NANO.recipe,
    tokens=LENGTH * UNIT * STEP,
    learning_rate=NANO.recipe.learning_rate / 2,
    matrix_learning_rate=NANO.recipe.matrix_learning_rate / 2,
    schedule="inverse_sqrt",
    warmup=12 / (LENGTH * UNIT),
    hold=1 / LENGTH,
    decay=0.2,
    final_rate=0.0,
    average=8.0,
)
VALID, LAST_VALID = 16_384, 131_072  # tokens of validation at a mark, and at the last one
REPEATED = 16  # architectures that are trained from three seeds
SEEDS = (0, 1, 2)
PAPER_SAMPLES, EXTENDED_SAMPLES = 25, 32


Row = dict[str, Any]  # of a table


@dataclass(frozen=True, slots=True)
class Architecture:
    """A genome of the reference, and how it was chosen: "named", "paper", "extended" or "front"."""

    kind: str
    genome: Genome


@dataclass(frozen=True, slots=True)
class Job:
    """One training of the reference."""

    corpus: str
    architecture: Architecture
    seed: int


@dataclass(frozen=True, slots=True)
class Curve:
    """Bits per byte at each mark: of all bytes, of those whose bigram occurred before in the window, of the rest."""

    all: list[float]
    repeated: list[float]
    new: list[float]


def read_architectures(path: Path = ARCHITECTURES) -> list[Architecture]:
    """Return the architectures of the reference in the order in which they are trained: named ones, then all other
    kinds in turn."""
    rows = tomllib.loads(path.read_text())["architecture"]
    kinds: dict[str, list[Architecture]] = {}
    for row in rows:
        kinds.setdefault(row["kind"], []).append(Architecture(row["kind"], canonical(parse(row["genome"]))))
    places = {one: (i + 0.5) / len(group) for group in kinds.values() for i, one in enumerate(group)}
    return sorted(places, key=lambda one: (one.kind != "named", places[one]))


def draw(runs: Sequence[Path], listed: Sequence[Architecture] = ()) -> list[Architecture]:
    """Draw the architectures of the reference; the neighbours are the fronts of runs and those listed already."""
    rng = np.random.default_rng(20_26)
    named = [one.at(NANO.num_slots) for one in map(catalogue.load, catalogue.names()) if one.scale is None]
    chosen = {"named": named}
    for deck, number in (("paper", PAPER_SAMPLES), ("extended", EXTENDED_SAMPLES)):
        chosen[deck] = [Space(NANO.num_slots, deck).sample(rng) for _ in range(number)]
    chosen["front"] = [one.genome for one in listed if one.kind == "front"]
    chosen["front"] += [one.genome for run in runs for one in RunDirectory(run).open().latest_generation().front]
    found: dict[Genome, str] = {}
    for kind, genomes in chosen.items():
        for genome in map(canonical, genomes):
            found.setdefault(genome, kind)
    return [Architecture(kind, genome) for genome, kind in found.items()]


def write_architectures(path: Path, architectures: Sequence[Architecture]) -> None:
    """Write the list that `read_architectures` reads."""
    blocks = [f'[[architecture]]\nkind = "{one.kind}"\ngenome = "{to_text(one.genome)}"\n' for one in architectures]
    path.write_text("\n".join(blocks))


def jobs(architectures: Sequence[Architecture], corpora: Sequence[str]) -> Iterator[Job]:
    """Yield the trainings of the reference: of all architectures from the first seed, then of architectures that are
    spread evenly from the others."""
    repeated = architectures[:: max(1, len(architectures) // REPEATED)][:REPEATED]
    for group, seeds in ((architectures, SEEDS[:1]), (repeated, SEEDS[1:])):
        yield from (Job(corpus, one, seed) for one in group for seed in seeds for corpus in corpora)


@cache
def read_corpus(name: str) -> Corpus:
    """Return a corpus, read once a process."""
    return load_corpus((name,), 32 << 20)


def train(
    job: Job,
    recipe: Recipe = RECIPE,
    marks: Sequence[int] = MARKS,
    paired: bool = False,
    dims: Dimensions = NANO.dims,
) -> Row:
    """Train one architecture and return its row; the curve ends before the mark at which it diverged. With `paired`
    similar architectures begin with equal weights.
    """
    os.nice(19 - os.nice(0))
    torch.set_num_threads(1)
    corpus, slots = read_corpus(job.corpus), decode(job.architecture.genome)
    torch.manual_seed(job.seed)
    with paired_weights(job.seed) if paired else nullcontext():
        model = LanguageModel(specify(slots, dims))
    training = Training(model, Windows(corpus.train, recipe), recipe, job.seed)
    latest, averaged, seconds = [], [], []
    started, measuring = time.process_time(), 0.0
    try:
        for mark in marks:
            training.advance(mark)
            seconds.append(time.process_time() - started - measuring)
            tokens = LAST_VALID if mark == MARKS[-1] else VALID
            begun = time.process_time()
            latest.append(measure_classes(model, corpus.valid, recipe.seq_len, tokens))
            with training.averaged():
                averaged.append(measure_classes(model, corpus.valid, recipe.seq_len, tokens))
            measuring += time.process_time() - begun
    except Diverged:
        pass
    cost = TARGET.count(job.architecture.genome)
    return {
        "corpus": job.corpus,
        "kind": job.architecture.kind,
        "genome": list(job.architecture.genome),
        "seed": job.seed,
        "latest": asdict(to_curve(latest)),
        "averaged": asdict(to_curve(averaged)),
        "curve": list(training.curve),
        "seconds": seconds,
        "params": float(cost.params),
        "cache_bytes": float(cost.cache_bytes),
        "flops_per_token": float(cost.flops_per_token),
    }


def to_curve(losses: Sequence[ClassLosses]) -> Curve:
    """Return losses at marks as one list for each class of bytes."""
    return Curve([one.all for one in losses], [one.repeated for one in losses], [one.new for one in losses])


def write(path: Path, rows: Sequence[Row]) -> None:
    """Replace the table."""
    curve = pa.struct([(name, pa.list_(pa.float32())) for name in Curve.__slots__])
    schema = pa.schema(
        [
            *([("recipe", pa.string())] if rows and "recipe" in rows[0] else []),
            ("corpus", pa.string()),
            ("kind", pa.string()),
            ("genome", pa.list_(pa.int8())),
            ("seed", pa.int64()),
            ("latest", curve),
            ("averaged", curve),
            ("curve", pa.list_(pa.float32())),
            ("seconds", pa.list_(pa.float32())),
            *((column, pa.float64()) for column in ("params", "cache_bytes", "flops_per_token")),
        ],
        metadata={"marks": json.dumps([mark * STEP for mark in MARKS])},
    )
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".tmp")
    pq.write_table(pa.Table.from_pylist(list(rows), schema), temporary, compression="zstd")
    os.replace(temporary, path)


def train_all(
    train: Callable[[Any], Row], tasks: Sequence[Any], rows: list[Row], table: Path, processes: int, hours: float
) -> None:
    """Train each task, add its row and write the table; begin none after so many hours."""
    end = time.monotonic() + 3600 * hours
    waiting, total = iter(tasks), len(rows) + len(tasks)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(train, task) for task in islice(waiting, processes)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            rows += [one.result() for one in done]
            write(table, rows)
            print(f"{len(rows)} of {total}", flush=True)
            if time.monotonic() < end:
                running |= {pool.submit(train, task) for task in islice(waiting, len(done))}


def write_prior(path: Path, rows: Sequence[Row]) -> None:
    """Write the losses of whole trainings as `star.evaluation.prior` reads them: of the average of the weights, and at
    the last mark, after the decay, of the latest ones."""
    whole = [row for row in rows if len(row["seconds"]) == len(MARKS)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([CORPUS, SEED, GENOME, *MARKS])
        for row in sorted(whole, key=lambda row: (row["corpus"], row["genome"], row["seed"])):
            losses = (f"{loss:.4f}" for loss in [*row["averaged"]["all"][:-1], row["latest"]["all"][-1]])
            writer.writerow([row["corpus"], row["seed"], to_text(tuple(row["genome"])), *losses])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--corpus", action="append", help="stdlib or prose; both by default")
    parser.add_argument("--hours", type=float, default=float("inf"), help="begin no training after so many")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--draw", nargs="+", type=Path, metavar="RUN", help="add the fronts of these runs to the list")
    parser.add_argument("--prior", action="store_true", help="write the prior of the estimates from the table")
    given = parser.parse_args()
    if given.draw:
        listed = read_architectures() if ARCHITECTURES.exists() else ()
        write_architectures(ARCHITECTURES, draw(given.draw, listed))
        return
    rows = pq.read_table(given.table).to_pylist() if given.table.exists() else []
    if given.prior:
        write_prior(PRIOR, rows)
        return
    known = {(row["corpus"], tuple(row["genome"]), row["seed"]) for row in rows}
    wanted = jobs(read_architectures(), given.corpus or CORPORA)
    missing = [job for job in wanted if (job.corpus, job.architecture.genome, job.seed) not in known]
    train_all(train, missing, rows, given.table, given.processes, given.hours)


if __name__ == "__main__":
    main()
