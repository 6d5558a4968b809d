"""Genomes priced per second: one after another and all at once, on one core, at 24 slots and at the depth of a model of
405 billion parameters; and whole Parquet files, with one process and with one for each core.

python experiments/benchmarks/pricing.py [--genomes 20000] [--repeats 5] [--copies 10]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from star.architecture.genome import Space, decode, to_text
from star.architecture.scales import SCALES, Scale
from star.architecture.spec import Dimensions
from star.cost.batch import price_many
from star.cost.cost import price
from star.cost.files import price_file
from star.records import Genome

DEEP = Dimensions(d_model=16_384, head_dim=128, vocab_size=128_256, seq_len=8192)
SMALL = SCALES["125m"].dims
SCALAR_SHARE = 10  # of the genomes, one in so many is priced one by one


def rate(count: int, work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def compare(genomes: list[Genome], dims: Dimensions, repeats: int) -> None:
    """Check that both ways agree, then print the median rate of each, measured in turn."""
    rows, few = np.array(genomes), genomes[::SCALAR_SHARE]
    each = [price(decode(genome), dims) for genome in few]
    assert each == list(zip(*(column.tolist() for column in price_many(few, dims)), strict=True))
    rates = [
        (
            rate(len(few), lambda: [price(decode(genome), dims) for genome in few]),
            rate(len(genomes), lambda: price_many(genomes, dims)),
            rate(len(rows), lambda: price_many(rows, dims)),
        )
        for _ in range(repeats)
    ]
    scalar, listed, vectorised = (statistics.median(column) for column in zip(*rates, strict=True))
    print(
        f"{len(genomes[0]) // 5:3} slots of d_model {dims.d_model:6,}: {scalar:7,.0f} genomes/s one by one, "
        f"{vectorised:7,.0f} at once, {vectorised / scalar:4.1f} times as many; {listed:7,.0f} at once from tuples"
    )


def measure_files(genomes: list[Genome], scale: Scale, copies: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for kind, column in (("integers", genomes), ("texts", [to_text(genome) for genome in genomes])):
            path = Path(folder) / f"{kind}.parquet"
            pq.write_table(pa.table({"genome": pa.chunked_array([pa.array(column)] * copies)}), path)
            for workers, words in ((1, "one process"), (0, "a process for each core")):
                totals = price_file(path, scale, None, None, workers)
                print(f"{kind:9} {totals.genomes_per_second:8,.0f} genomes/s over {totals.genomes:,}, {words}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genomes", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--copies", type=int, default=10, help="of all genomes in a file")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    for num_slots, dims in ((24, SMALL), (252, DEEP)):
        space = Space(num_slots)
        genomes = [space.sample(rng) for _ in range(arguments.genomes)]
        compare(genomes, dims, arguments.repeats)
        measure_files(genomes, replace(SCALES["125m"], num_slots=num_slots, dims=dims), arguments.copies)


if __name__ == "__main__":
    main()
