"""The cost of many genomes at once: a Parquet file in, totals out, and a Parquet file if asked for."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from star.cost import Cost, price
from star.genome import check, decode, parse
from star.records import Genome
from star.scales import Scale, nearest
from star.spec import UserError

COLUMN = "genome"
BATCH = 16_384  # genomes held in memory at a time
TYPES = {int: pa.int64(), float: pa.float64()}
COSTS = [(name, TYPES[kind]) for name, kind in Cost.__annotations__.items()]
SCHEMA = pa.schema([(COLUMN, pa.list_(pa.int32())), *COSTS])


class Spread(NamedTuple):
    """How a quantity is spread over the genomes of a file."""

    least: float
    median: float
    most: float


class Totals(NamedTuple):
    """What a file of genomes costs, and how fast it was priced."""

    genomes: int
    genomes_per_second: float
    params: Spread
    cache_bytes: Spread


def price_file(source: Path, scale: Scale, context: int | None, out: Path | None) -> Totals:
    """Price the column `genome` (lists of integers, or texts) of a Parquet file.

    Args:
        source: the file; other columns are ignored.
        scale: the sizes to price at.
        context: tokens held in the cache; the scale's sequence length if None.
        out: where to write genomes and costs, in the order of `source`; nothing is written if None.

    Raises:
        UserError: not a readable Parquet file, no such column, no genome, or one that is malformed; `out` is
            `source` or cannot be written.
    """
    if out and os.path.realpath(out) == os.path.realpath(source):
        raise UserError(f"the costs would replace the genomes in {source}: write them to another file")
    started = time.perf_counter()
    params: list[np.ndarray] = []
    caches: list[np.ndarray] = []
    with ExitStack() as stack:
        writer = stack.enter_context(_Writer(out)) if out else None
        first = 0
        for genomes in _read(source):
            costs = [_price(genome, row, scale, context) for row, genome in enumerate(genomes, start=first)]
            first += len(genomes)
            params.append(np.array([cost.params for cost in costs]))
            caches.append(np.array([cost.cache_bytes for cost in costs]))
            if writer:
                writer.write(genomes, costs)
        if not params:
            raise UserError(f"{source} holds no genomes")
    all_params, all_caches = np.concatenate(params), np.concatenate(caches)
    return Totals(
        genomes=all_params.size,
        genomes_per_second=all_params.size / (time.perf_counter() - started),
        params=_spread(all_params),
        cache_bytes=_spread(all_caches),
    )


def _price(genome: Genome, row: int, scale: Scale, context: int | None) -> Cost:
    try:
        return price(decode(genome), scale.dims, context)
    except UserError as error:
        raise UserError(f"row {row}: {error}") from error


def _spread(values: np.ndarray) -> Spread:
    return Spread(float(values.min()), float(np.median(values)), float(values.max()))


def _read(source: Path) -> Iterator[list[Genome]]:
    try:
        with pq.ParquetFile(source) as file:
            columns = file.schema_arrow.names
            if COLUMN not in columns:
                close = nearest(COLUMN, columns) if columns else ""
                raise UserError(f"{source} has no column {COLUMN!r}{close}")
            first = 0
            for batch in file.iter_batches(BATCH, columns=[COLUMN]):
                yield [_genome(value, first + row) for row, value in enumerate(batch.column(0).to_pylist())]
                first += batch.num_rows
    except FileNotFoundError as error:
        raise UserError(f"there is no file {source}") from error
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {source} as Parquet: {str(error).splitlines()[0]}") from error


def _genome(value: object, row: int) -> Genome:
    try:
        if isinstance(value, str):
            return parse(value)
        if not isinstance(value, list) or not all(isinstance(gene, int) for gene in value):
            raise UserError(f"{value!r:.60} is neither a list of integers nor a text")
        return check(value)
    except UserError as error:
        raise UserError(f"row {row}: {error}") from error


class _Writer:
    """A Parquet file that appears under its name when it is whole, and not at all after an error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.parent / f".{path.name}.part"

    def __enter__(self) -> "_Writer":
        with self._errors_told():
            if self._path.is_dir():
                raise UserError(f"cannot write {self._path}: it is a directory")
            self._writer = pq.ParquetWriter(self._part, SCHEMA)
        return self

    def write(self, genomes: list[Genome], costs: list[Cost]) -> None:
        columns = [genomes, *zip(*costs, strict=True)]
        table = pa.table([pa.array(column) for column in columns], names=SCHEMA.names).cast(SCHEMA)
        with self._errors_told():
            self._writer.write_table(table)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._errors_told():
            try:
                self._writer.close()
                if kind is None:
                    os.replace(self._part, self._path)
            finally:
                self._part.unlink(missing_ok=True)

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror or error}") from error
