"""What the commands print: results on stdout, everything else on stderr."""

import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

WIDE = 240  # columns of a pipe or a file, where nothing folds lines but we ourselves


def stdout() -> Console:
    """A console on standard output. Made at each call, because tests and pipes replace the stream."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDE, highlight=False)


def stderr() -> Console:
    """A console on standard error, for logs and progress."""
    return Console(file=sys.stderr, width=None if sys.stderr.isatty() else WIDE, highlight=False)


def print_json(value: Any) -> None:
    """One JSON value on standard output."""
    print(json.dumps(value, indent=2))


def table(*columns: str) -> Table:
    """An unruled table; a column whose name starts with '>' is set flush right."""
    result = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        name = column.removeprefix(">")
        result.add_column(name, justify="right" if name != column else "left", no_wrap=name != column)
    return result


def si(value: float, unit: str = "") -> str:
    """A number with an SI prefix and at least three digits: 84.9 M, 805 MB, 512 B."""
    size = abs(value)
    for factor, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= factor:
            return f"{value / factor:.{max(0, 3 - len(str(int(size / factor))))}f} {prefix}{unit}"
    return f"{value:g} {unit}".rstrip()


def duration(seconds: float) -> str:
    """Seconds as a person says them: 42 s, 3 min 05 s, 2 h 07 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def count(number: int, noun: str) -> str:
    """Return a number and its noun: 1 worker, 2 workers, 3 proxies."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"
