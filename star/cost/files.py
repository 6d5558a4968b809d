"""Price the genomes of a Parquet file: totals, and a Parquet file of costs if asked for."""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from star.architecture.genome import check, decode, parse
from star.architecture.scales import Scale
from star.architecture.spec import Dimensions
from star.cost.batch import Costs, price_many
from star.cost.cost import Cost, price
from star.cost.process import count_cores
from star.errors import UserError, disk_errors_reported, located, nearest
from star.records import Genome

COLUMN = "genome"
BATCH = 4_096  # genomes to a task
PATIENCE = 3.0  # seconds of work, of which other processes are asked to take a part: they take a second to start
WORD = r"(\d{5,13}|\d{1,4}(\.\d{1,4}){4})"
BACKBONE = f"^{WORD}(-{WORD})*$"  # the usual texts, which need no parser: no deck of their own, no spaces
DOTS = (r"\b(\d+)(\d)(\d)(\d)(\d)\b", r"\1.\2.\3.\4.\5")  # between the digits of a word without dots
GENES = pa.list_(pa.int32())
TYPES = {int: pa.int64(), float: pa.float64()}
SCHEMA = pa.schema([(COLUMN, GENES), *((name, TYPES[kind]) for name, kind in Cost.__annotations__.items())])


class Spread(NamedTuple):
    """The spread of a quantity over the genomes of a file."""

    least: float
    median: float
    most: float


class Totals(NamedTuple):
    """The costs of a file of genomes, and the speed of pricing."""

    genomes: int
    genomes_per_second: float
    params: Spread
    cache_bytes: Spread


class _Batch(NamedTuple):
    """Successive rows of a file: number of the batch and of its first row, how many rows there are, and the genomes."""

    number: int
    first: int
    of: int
    column: pa.Array


class _Priced(NamedTuple):
    """Genomes as lists of integers, and their costs."""

    genomes: pa.Array | None  # None: as they stand in the file
    costs: Costs


def price_file(
    source: Path, scale: Scale, context: int | None, out: Path | None, workers: int = 0, dtype_bytes: float = 2
) -> Totals:
    """Price the column `genome` (lists of integers, or texts) of a Parquet file.

    Args:
        source: the file; other columns are ignored.
        scale: the sizes to price at.
        context, dtype_bytes: tokens in the cache, the scale's sequence length if None; bytes of an element of it.
        out: where to write genomes and costs, in the order of `source`; nothing is written if None.
        workers: processes that price a file that takes more than seconds; one for each core if 0, this one alone if 1.

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
        task = _Task(source, BATCH, scale.dims, context, dtype_bytes, keep=writer is not None)
        for genomes, costs in stack.enter_context(closing(_price_batches(task, workers or count_cores()))):
            params.append(costs.params)
            caches.append(costs.cache_bytes)
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


class _Task(NamedTuple):
    """The arguments of pricing a file."""

    source: Path
    size: int  # genomes to a batch
    dims: Dimensions
    context: int | None
    dtype_bytes: float
    keep: bool  # the genomes are wanted too


def _price_batches(task: _Task, workers: int) -> Generator[_Priced, None, None]:
    """Price a file in its order, first in this process, and in others once enough work is left."""
    spent = 0.0
    batches = _read(task.source, task.size)
    for batch in batches:
        if workers > 1 and batch.first and spent / batch.first * (batch.of - batch.first) >= PATIENCE:
            with closing(_price_elsewhere(task, batch.number, workers)) as elsewhere:
                yield from map(_joined, chain([batch], batches), elsewhere) if task.keep else elsewhere
            return
        started = time.perf_counter()
        priced = _price_batch(batch, task)
        spent += time.perf_counter() - started
        yield priced


def _joined(batch: _Batch, priced: _Priced) -> _Priced:
    return priced if priced.genomes is not None else priced._replace(genomes=batch.column)


def _price_elsewhere(task: _Task, first: int, workers: int) -> Generator[_Priced, None, None]:
    """Price a file from its batch `first` on in other processes. Each of them reads all of it and prices its share: one
    that reads for all would be slower than those that price.
    """
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_obey_parent)
    pending: deque[Future[_Priced | None]] = deque()
    try:
        for number in count(first):
            pending.append(pool.submit(_price_numbered, task, number))
            if len(pending) > 2 * workers:
                priced = pending.popleft().result()
                if priced is None:
                    return
                yield priced
    except BrokenProcessPool as error:
        raise UserError("a process that priced genomes was ended from outside, perhaps for want of memory") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _obey_parent() -> None:
    """Ignore SIGINT, and exit when the parent process ends, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


_reading: dict[Path, Iterator[_Batch]] = {}  # in a process of the pool, which is asked for later and later batches


def _price_numbered(task: _Task, number: int) -> _Priced | None:
    """Price one batch by its number, or return None if the file has fewer batches."""
    batches = _reading.setdefault(task.source, _read(task.source, task.size))
    batch = next((batch for batch in batches if batch.number == number), None)
    if batch is None:
        return None
    priced = _price_batch(batch, task)
    return priced if task.keep and priced.genomes is not batch.column else priced._replace(genomes=None)


def _price_batch(batch: _Batch, task: _Task) -> _Priced:
    lists = _lists(batch.column)
    if lists is None:
        values = enumerate(batch.column.to_pylist(), start=batch.first)
        lists = pa.array([_genome(value, row) for row, value in values], GENES)
    try:
        return _Priced(lists, price_many(_rows(lists), task.dims, task.context, task.dtype_bytes))
    except UserError:
        for row, value in enumerate(batch.column.to_pylist(), start=batch.first):
            genome = _genome(value, row)
            with located(f"row {row}"):
                price(decode(genome), task.dims, task.context)
        raise


def _lists(column: pa.Array) -> pa.Array | None:
    """Return the genomes of a column as lists of integers, or None if they need a parser."""
    if column.null_count:
        return None
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return None if column.flatten().null_count or not pa.types.is_integer(kind.value_type) else column
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return None
    if pc.call_function("match_substring_regex", [column], pc.MatchSubstringOptions(BACKBONE)).false_count:
        return None
    dotted = pc.call_function("replace_substring_regex", [column], pc.ReplaceSubstringOptions(*DOTS))
    plain = pc.call_function("replace_substring", [dotted], pc.ReplaceSubstringOptions("-", "."))
    return pc.call_function("split_pattern", [plain], pc.SplitPatternOptions(".")).cast(GENES)


def _rows(lists: pa.Array) -> Sequence[np.ndarray] | np.ndarray:
    """Return genomes as arrays, or as one array if all have one length."""
    lengths, values = lists.value_lengths().to_numpy(), lists.flatten().to_numpy()
    if lengths.size and lengths[0] and (lengths == lengths[0]).all():
        return values.reshape(lengths.size, -1)
    return np.split(values, np.cumsum(lengths)[:-1])


def _genome(value: object, row: int) -> Genome:
    with located(f"row {row}"):
        if isinstance(value, str):
            return parse(value)
        if not isinstance(value, list) or not all(isinstance(gene, int) for gene in value):
            raise UserError(f"{value!r:.60} is neither a list of integers nor a text")
        return check(tuple(map(int, value)))


def _read(source: Path, size: int) -> Iterator[_Batch]:
    try:
        with pq.ParquetFile(source) as file:
            columns = file.schema_arrow.names
            if COLUMN not in columns:
                raise UserError(f"{source} has no column {COLUMN!r}{nearest(COLUMN, columns) if columns else ''}")
            first = 0
            for number, batch in enumerate(file.iter_batches(size, columns=[COLUMN])):
                yield _Batch(number, first, file.metadata.num_rows, batch.column(0))
                first += batch.num_rows
    except FileNotFoundError as error:
        raise UserError(f"there is no file {source}") from error
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {source} as Parquet: {str(error).splitlines()[0]}") from error


def _spread(values: np.ndarray) -> Spread:
    return Spread(float(values.min()), float(np.median(values)), float(values.max()))


class _Writer:
    """A Parquet file that is renamed to its name when it is complete, and removed after an error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.parent / f".{path.name}.part"

    def __enter__(self) -> "_Writer":
        with disk_errors_reported(f"write {self._path}"):
            if self._path.is_dir():
                raise UserError(f"cannot write {self._path}: it is a directory")
            self._writer = pq.ParquetWriter(self._part, SCHEMA)
        return self

    def write(self, genomes: pa.Array, costs: Costs) -> None:
        for name, values in zip(costs._fields, costs, strict=True):
            if values.dtype == object and (most := values.max()) >= 2**63:
                raise UserError(f"{name} of a genome is {most}, which is no 64-bit integer: price over fewer tokens")
        table = pa.table([genomes.cast(GENES), *costs], schema=SCHEMA)
        with disk_errors_reported(f"write {self._path}"):
            self._writer.write_table(table)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with disk_errors_reported(f"write {self._path}"):
            try:
                self._writer.close()
                if kind is None:
                    os.replace(self._part, self._path)
            finally:
                self._part.unlink(missing_ok=True)
