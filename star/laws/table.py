"""Read a table of runs and refuse what is in another unit, twice there, or of two kinds."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from star.errors import UserError, disk_errors_reported, located, nearest
from star.laws.runs import CONVENTIONS, Runs

REQUIRED = ("params", "tokens", "loss")
OPTIONAL = ("flops", "unique_tokens", "active_params", "experts", "granularity")
LABELS = ("architecture", "params_convention")  # columns of text
COLUMNS = (*REQUIRED, *OPTIONAL, *LABELS)
MOST_ROWS, MOST_BYTES = 100_000, 64 * 2**20
FEWEST_PARAMS, FEWEST_TOKENS = 1e4, 1e5  # of the largest run; fewer are millions or billions of them
VOCABULARY = 262_144  # a large one: a uniform guess among it has the highest loss that makes sense
FAR_FROM_6ND = 10.0
MOST_TOKENS_PER_PARAM = 1e5

Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a table is to be read.

    Attributes:
        columns: the name in the table of a column that is called otherwise there.
        convention: the count of params; of the column params_convention, or "total", if empty.
        architecture: the one to take of a table of several.
        tokens_below_params: whether most runs may have fewer tokens than parameters.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    convention: str = ""
    architecture: str = ""
    tokens_below_params: bool = False


def read_csv(path: Path) -> dict[str, list[str]]:
    """Return the columns of a CSV file by name.

    Raises:
        UserError: no such file, not text, too large, no rows, a row of another length, or two columns of one name.
    """
    with located(str(path)), disk_errors_reported("read it"):
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"a table has at most {MOST_BYTES:,} bytes")
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                head, *rows = [row for row in csv.reader(file, strict=True) if row] or [[]]
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"this is no CSV file: {error}") from error
        names = [name.strip() for name in head]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UserError(f"two columns are called {twice[0]!r}")
        for number, row in enumerate(rows, start=1):
            if len(row) != len(names):
                raise UserError(f"row {number} has {len(row)} cells, and the head has {len(names)}")
        return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def read_runs(columns: Columns, reading: Reading) -> Runs:
    """Return the runs of a table.

    A table without tokens but with flops has D = C / (6 N). Rows are numbered from 1, without the head.

    Raises:
        UserError: a column is missing, a cell is no positive number, an amount is in another unit, a run is there
            twice, or the table holds several architectures or counts of parameters.
    """
    for name in reading.columns:
        if name not in COLUMNS:
            raise UserError(f"there is no column {name!r} to name{nearest(name, COLUMNS)}")
    rows = _rows_of(columns, reading)
    numbers = {
        name: _numbers(name, _column(columns, reading, name), rows)
        for name in (*REQUIRED, *OPTIONAL)
        if _has(columns, reading, name)
    }
    if "tokens" not in numbers and {"params", "flops"} <= numbers.keys():
        numbers["tokens"] = numbers["flops"] / (6 * numbers.get("active_params", numbers["params"]))
    for name in REQUIRED:
        if name not in numbers:
            raise UserError(f"there is no column {name!r}{_suggest(name, columns)}")
    runs = Runs(**numbers, convention=_convention(columns, reading, rows))
    _check_units(runs, rows, _place(reading, "loss"))
    if not reading.tokens_below_params and np.mean(runs.tokens < runs.used_params) > 0.5:
        raise UserError(
            "most runs have fewer tokens than params: the two columns may be swapped, or tokens be in millions; if all "
            "is right, give --tokens-below-params"
        )
    _check_twice(numbers, rows)
    return runs


def _place(reading: Reading, name: str) -> str:
    return reading.columns.get(name, name)


def _has(columns: Columns, reading: Reading, name: str) -> bool:
    return name in reading.columns or name in columns


def _column(columns: Columns, reading: Reading, name: str) -> Sequence[Any]:
    place = _place(reading, name)
    if place not in columns:
        raise UserError(f"there is no column {place!r}{_suggest(place, columns)}")
    return columns[place]


def _suggest(name: str, columns: Columns) -> str:
    """Return the clause that names the nearest column, and the option that takes it."""
    if not columns:
        return ": the table is empty"
    clause = nearest(name, columns)
    return f"{clause}; --column {name}=... names it" if name in COLUMNS else clause


def _rows_of(columns: Columns, reading: Reading) -> list[int]:
    """Return the indices of the rows to read: all, or those of one architecture."""
    count = len(next(iter(columns.values()), ()))
    if not count:
        raise UserError("the table has no rows")
    if count > MOST_ROWS:
        raise UserError(f"a table has at most {MOST_ROWS:,} rows, not {count:,}")
    if not _has(columns, reading, "architecture"):
        if reading.architecture:
            raise UserError("the table has no column 'architecture' to choose from")
        return list(range(count))
    names = [str(one) for one in _column(columns, reading, "architecture")]
    if reading.architecture and reading.architecture not in names:
        raise UserError(f"there is no architecture {reading.architecture!r}{nearest(reading.architecture, set(names))}")
    if not reading.architecture and len(set(names)) > 1:
        listed = ", ".join(sorted(set(names))[:6])
        raise UserError(f"the table holds {len(set(names))} architectures ({listed}): choose one with --architecture")
    return [row for row, name in enumerate(names) if name == (reading.architecture or name)]


def _convention(columns: Columns, reading: Reading, rows: list[int]) -> str:
    """Return the count of parameters, of which a table must have one."""
    found = set()
    if _has(columns, reading, "params_convention"):
        column = _column(columns, reading, "params_convention")
        found = {str(column[row]).strip() for row in rows}
    for word in sorted({*found, reading.convention} - {""}):
        if word not in CONVENTIONS:
            raise UserError(f"unknown count of parameters {word!r}{nearest(word, CONVENTIONS)}")
    if len(found) > 1:
        raise UserError(f"the table mixes counts of parameters ({', '.join(sorted(found))}): keep one")
    if found and reading.convention and reading.convention not in found:
        raise UserError(f"the table counts {found.pop()} parameters, and --params-convention says {reading.convention}")
    return reading.convention or (found.pop() if found else CONVENTIONS[0])


def _numbers(name: str, cells: Sequence[Any], rows: list[int]) -> np.ndarray:
    values = np.empty(len(rows))
    for i, row in enumerate(rows):
        try:
            values[i] = float(cells[row])
        except (TypeError, ValueError):
            raise UserError(f"{name} in row {row + 1} is {str(cells[row])[:40]!r}, which is no number") from None
        if not 0 < values[i] < math.inf:
            raise UserError(f"{name} in row {row + 1} is {values[i]:g}: it must be above 0 and finite")
    return values


def _check_units(runs: Runs, rows: list[int], loss: str) -> None:
    for name, amount, fewest in (("params", runs.params, FEWEST_PARAMS), ("tokens", runs.tokens, FEWEST_TOKENS)):
        if amount.max() < fewest:
            raise UserError(
                f"{name} look like millions or billions, because the largest is {amount.max():g}: write plain numbers, "
                "as 8e9"
            )
    ratio = float(np.median(runs.tokens / runs.used_params))
    if ratio > MOST_TOKENS_PER_PARAM:
        raise UserError(
            f"params look like thousands or millions: the median run has {ratio:.2g} tokens for each of them"
        )
    if "bit" in loss.lower() or "bpb" in loss.lower():
        raise UserError(
            f"the column {loss!r} is in bits: the loss must be in nats per token, which is bits times 0.6931"
        )
    highest = int(runs.loss.argmax())
    if runs.loss[highest] > math.log(VOCABULARY):
        raise UserError(
            f"loss in row {rows[highest] + 1} is {runs.loss[highest]:g}, above the {math.log(VOCABULARY):.1f} nats of "
            f"a guess among {VOCABULARY:,} tokens: it must be in nats per token, not in bits or a perplexity"
        )
    if runs.flops is not None:
        ratio = float(np.median(runs.flops / (6 * runs.used_params * runs.tokens)))
        if not 1 / FAR_FROM_6ND < ratio < FAR_FROM_6ND:
            raise UserError(
                f"flops are {ratio:.2g} times 6 params tokens in the median run: one of the three has another unit"
            )
    if runs.active_params is not None and (runs.active_params > runs.params).any():
        row = rows[int(np.argmax(runs.active_params > runs.params))]
        raise UserError(f"active_params in row {row + 1} are more than its params")


def _check_twice(numbers: Mapping[str, np.ndarray], rows: list[int]) -> None:
    seen: dict[tuple[float, ...], int] = {}
    for row, values in zip(rows, zip(*numbers.values(), strict=True), strict=True):
        if values in seen:
            raise UserError(f"rows {seen[values] + 1} and {row + 1} are the same run: keep one")
        seen[values] = row
