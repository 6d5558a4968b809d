"""Print results on stdout and everything else on stderr, with every name made printable.

A terminal gets lines of its width, broken between words; a pipe or a file gets each line whole.
"""

import json
import re
import sys
import textwrap
from typing import Any, TextIO

from rich.console import Console

from star.report.text import visible

INDENT = 4


def stdout() -> Console:
    """Return a console on standard output, which breaks no lines: see `say` and `Table`. Made at each call, because
    tests and pipes replace the stream."""
    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=True)


def stderr() -> Console:
    """Return a console on standard error, for logs and progress."""
    return Console(
        file=sys.stderr, highlight=False, markup=False, emoji=False, soft_wrap=not sys.stderr.isatty() or None
    )


def printable(text: object) -> str:
    """Return a text as one line that is safe on a terminal: control characters, marks that turn the direction of
    writing, line ends and bytes that are no characters are spelled out, as in \\x1b."""
    return visible(str(text))


def is_text(name: str) -> bool:
    """Return whether the name of a file is characters alone: bytes that are none are kept as surrogates."""
    return not any("\ud800" <= c <= "\udfff" for c in name)


def width_of(stream: TextIO) -> int | None:
    """Return the columns of a terminal; None for a pipe or a file."""
    return Console(file=stream).width if stream.isatty() else None


def say(*lines: object) -> None:
    """Print lines on standard output."""
    _print(lines, sys.stdout)


def note(*lines: object) -> None:
    """Print lines on standard error."""
    _print(lines, sys.stderr)


def print_json(value: Any) -> None:
    """Print one JSON value on standard output."""
    print(json.dumps(value, indent=2))


def wrap(text: str, width: int | None) -> list[str]:
    """Return a text as lines of at most `width` columns, broken between words, and a longer word as the text of a
    genome is; lines after the first are indented as the first."""
    if width is None:
        return [text]
    indent = " " * (len(text) - len(text.lstrip()))
    lines = textwrap.wrap(
        text.lstrip(),
        max(width, 1),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [part for line in lines for part in (wrap_code(line, width) if len(line) > width else [line])] or [""]


def wrap_code(text: str, width: int | None) -> list[str]:
    """Return the text of a genome as lines of at most `width` columns, broken behind a hyphen, comma, plus sign or
    slash."""
    lines = [""]
    for word in re.findall(r"[^-,+/]*[-,+/]|[^-,+/]+", text):
        if lines[-1] and width is not None and len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += word
    return lines


def si(value: float, unit: str = "") -> str:
    """Return a number with an SI prefix and at least three digits: 84.9 M, 805 MB, 512 B."""
    size = abs(value)
    for factor, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= factor:
            return f"{value / factor:.{max(0, 3 - len(str(int(size / factor))))}f} {prefix}{unit}"
    return f"{value:g} {unit}".rstrip()


def duration(seconds: float) -> str:
    """Return seconds as a person says them: 42 s, 3 min 05 s, 2 h 07 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def count(number: int, noun: str) -> str:
    """Return a number and its noun: 1 worker, 2 workers, 3 proxies."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def _print(lines: tuple[object, ...], stream: TextIO) -> None:
    if not lines:
        return
    width = width_of(stream)
    print("\n".join(part for line in lines for part in wrap(printable(line), width)), file=stream)
