"""The latency of whole models beside the sum over operators that were measured alone, as `star evolve` prices them.

Random genomes of each deck are measured as whole models and as sums (star/training/latency.py, star/cost/latency.py).
What is measured is kept in experiments/benchmarks/tables/latency.parquet, so that an interrupted measurement goes on;
rows of another machine, scale or context stay there and are not used. Nothing else should run meanwhile.

    python experiments/benchmarks/latency_table.py                       measure what is missing, print the page
    python experiments/benchmarks/latency_table.py --report --write      measure nothing, write docs/latency.md
"""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from measuring.page import ROOT, Page, Table
from measuring.ranking import kendall, spearman

from star.architecture.catalogue import find_scale
from star.architecture.genome import DECKS, Space, genome_hash, to_text
from star.cost.cost import DTYPE_BYTES
from star.cost.latency import LatencyTable
from star.cost.target import Target
from star.evaluation.fingerprint import describe_machine, name_machine
from star.records import Genome, Latency, Measured
from star.training.latency import Machine, find_machine, measure_model, measure_part

RECORD = Path(__file__).parent / "tables" / "latency.parquet"
PAGE = ROOT / "docs" / "latency.md"
LIMIT = 0.15  # of the error of a sum
FIRST, SECOND = 1, 2  # measurements of a whole model, before and after those of its parts
KINDS = {"prefill": "prefill_ms", "decode": "decode_ms"}
SCHEMA = pa.schema(
    [
        ("machine", pa.string()),
        ("setting", pa.string()),
        ("key", pa.string()),  # of a part, or the text of a genome with the number of the measurement
        ("prefill_ms", pa.float64()),
        ("decode_ms", pa.float64()),
        ("is_disturbed", pa.bool_()),
    ]
)
FIELDS = SCHEMA.names[3:]
READING = """\
Random genomes at scale {scale}, {slots} slots, {context:,} tokens, one sequence: each was measured as a whole model,
and as the sum over its slots of what their operators take alone, plus embedding and head. Prefill is one pass over a
prompt of the whole context, decode one token at its end. Whole models are measured before and after their operators,
because the speed of a machine drifts, and the mean is taken. An error is that of the sum, as a share of the whole;
intervals are 95 % bootstrap intervals over genomes. {disturbed} of {rows} measurements were disturbed by other
processes; these are measured again when the script runs again."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where to measure."""

    target: Target
    machine: Machine
    machine_name: str
    setting_name: str


class Record:
    """The file of what was measured; `known` is what was measured here, by key."""

    def __init__(self, path: Path, bench: Bench) -> None:
        self._path, self._place = path, (bench.machine_name, bench.setting_name)
        rows = pq.read_table(path).to_pylist() if path.exists() else []
        self._rows = {(row["machine"], row["setting"], row["key"]): row for row in rows}
        self.known = {
            key[2]: Latency(**{name: row[name] for name in FIELDS})
            for key, row in self._rows.items()
            if key[:2] == self._place
        }

    def measure(self, key: str, work: Callable[[], Latency]) -> None:
        """Measure and record what is not known of that key, or was disturbed."""
        if key in self.known and not self.known[key].is_disturbed:
            return
        self.known[key] = found = work()
        place = (*self._place, key)
        self._rows[place] = dict(zip(SCHEMA.names, place, strict=False)) | {
            name: getattr(found, name) for name in FIELDS
        }
        temporary = self._path.with_suffix(".tmp")
        pq.write_table(pa.Table.from_pylist(list(self._rows.values()), SCHEMA), temporary, compression="zstd")
        os.replace(temporary, self._path)
        print(
            f"{found.prefill_ms:9.3f} {found.decode_ms:8.3f} ms{' disturbed' * found.is_disturbed}  {key[:60]}",
            flush=True,
        )


def draw(deck: str, num_slots: int, number: int) -> list[Genome]:
    """Return random genomes, the same for the same deck and depth; more begin with fewer."""
    rng, space = np.random.default_rng(0), Space(num_slots, deck)
    return [space.sample(rng) for _ in range(number)]


def measure_all(bench: Bench, genomes: Sequence[Genome], record: Record) -> None:
    """Measure genomes as a whole, their parts, and genomes as a whole again, as far as they are not recorded: the speed
    of a machine drifts."""
    target, machine = bench.target, bench.machine

    def measure_wholes(number: int) -> None:
        for genome in genomes:
            slots = target.slots(genome)
            record.measure(key_of(genome, number), lambda slots=slots: measure_model(slots, target, machine))

    measure_wholes(FIRST)
    for part in LatencyTable(target, target.num_slots).missing(genomes):
        record.measure(part.key, lambda part=part: measure_part(part, target, machine))
    measure_wholes(SECOND)


def key_of(genome: Genome, number: int) -> str:
    """Return the key of a measurement of a whole model."""
    return f"{to_text(genome)} {number}"


class Compared(NamedTuple):
    """A genome, its latency as a whole before and after its parts were measured, and as a sum."""

    genome: Genome
    before: Latency
    after: Latency
    total: Latency

    def milliseconds(self, column: str) -> tuple[float, float]:
        """Return the latency as a whole, the mean of both, and as a sum."""
        whole = (getattr(self.before, column) + getattr(self.after, column)) / 2
        return whole, getattr(self.total, column)


def compare(bench: Bench, genomes: Sequence[Genome], record: Record) -> Iterator[Compared]:
    """Yield each genome of which all is measured."""
    rows = {key: Measured(key, "", latency) for key, latency in record.known.items()}
    table = LatencyTable(bench.target, bench.target.num_slots, rows)
    for genome in genomes:
        wholes = [rows[key].latency for key in (key_of(genome, FIRST), key_of(genome, SECOND)) if key in rows]
        if len(wholes) == 2 and not table.missing([genome]):
            yield Compared(genome, *wholes, table.total(genome))


def summary_table(found: dict[str, list[Compared]]) -> Table:
    """Return how far sums are off, for each deck."""
    lines = []
    for deck, compared in found.items():
        for kind, column in KINDS.items():
            whole, total = np.array([one.milliseconds(column) for one in compared]).T
            drift = np.array([getattr(one.after, column) / getattr(one.before, column) - 1 for one in compared])
            errors = total / whole - 1
            size = np.abs(errors)
            lines.append(
                (
                    f"{deck}, {kind}",
                    f"{len(compared)}",
                    f"{np.median(errors):+.1%}",
                    f"{np.median(size):.1%}",
                    f"{np.quantile(size, 0.9):.1%}",
                    f"{size.max():.1%}",
                    f"{(size <= LIMIT).sum()}",
                    f"{np.median(np.abs(drift)):.1%}",
                    spearman(total, whole).text(2),
                    kendall(total, whole).text(2),
                )
            )
    return Table(
        "Errors",
        "The first is signed: below 0 the sum is less than the whole. The others are sizes of errors. Drift is the "
        "median difference between the two measurements of a whole model.",
        (
            "deck",
            "genomes",
            "median error",
            "median size",
            "90th percentile",
            "largest",
            f"within {LIMIT:.0%}",
            "drift",
            "Spearman",
            "Kendall",
        ),
        lines,
    )


def genome_table(deck: str, compared: Sequence[Compared]) -> Table:
    """Return each genome of a deck."""
    lines = []
    for one in compared:
        cells = [genome_hash(one.genome)]
        for column in KINDS.values():
            whole, total = one.milliseconds(column)
            cells += [f"{whole:,.4g}", f"{total:,.4g}", f"{total / whole - 1:+.1%}"]
        lines.append(tuple(cells))
    heads = [f"{kind}{what}" for kind in KINDS for what in (", ms", " as a sum", " error")]
    return Table(f"Genomes of deck {deck}", "Each by its hash.", ("genome", *heads), lines)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genomes", type=int, default=20, help="random genomes of each deck")
    parser.add_argument("--deck", action="append", choices=DECKS, help="paper and extended by default")
    parser.add_argument("--scale", default="125m")
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--dtype", choices=DTYPE_BYTES, default="bf16")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--record", type=Path, default=RECORD, help="where measurements are kept")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    parser.add_argument("--out", type=Path, help="write the page to this file")
    parser.add_argument("--write", action="store_true", help="write the page to docs/latency.md")
    return parser.parse_args()


def make_page(given: argparse.Namespace, bench: Bench, record: Record, drawn: dict[str, list[Genome]]) -> Page:
    """Return the page of what is recorded."""
    found = {deck: list(compare(bench, genomes, record)) for deck, genomes in drawn.items()}
    found = {deck: compared for deck, compared in found.items() if compared}
    tables = [summary_table(found), *(genome_table(deck, compared) for deck, compared in found.items())]
    reading = READING.format(
        scale=given.scale,
        slots=bench.target.num_slots,
        context=given.context,
        disturbed=sum(one.is_disturbed for one in record.known.values()),
        rows=len(record.known),
    )
    return Page("Latency of models as sums over operators", reading, tables, torch.device(given.device))


def main() -> None:
    given = read_arguments()
    scale, dtype_bytes = find_scale(given.scale), DTYPE_BYTES[given.dtype]
    target = Target(dims=scale.dims, num_slots=scale.num_slots, context=given.context, dtype_bytes=dtype_bytes)
    machine = find_machine(given.device, dtype_bytes)
    torch.set_num_threads(machine.threads)  # as the head of the page says
    name = f"{name_machine(describe_machine(machine))}, torch {torch.__version__}"
    bench = Bench(target, machine, name, f"{given.scale}, {given.context} tokens, {given.dtype}")
    record = Record(given.record, bench)
    drawn = {deck: draw(deck, scale.num_slots, given.genomes) for deck in given.deck or ("paper", "extended")}
    if not given.report:
        for genomes in drawn.values():
            measure_all(bench, genomes, record)
    make_page(given, bench, record, drawn).deliver(PAGE if given.write else given.out)


if __name__ == "__main__":
    main()
