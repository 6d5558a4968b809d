"""A page of plain Markdown for people: headings, paragraphs, code and tables whose codes stay whole."""

import re
from collections.abc import Iterator

from rich.text import Text

from star.cli.console import stdout, width_of, wrap
from star.cli.table import Table

ORIGIN = "This page is the output of"  # how the paragraph begins that is for readers of the file alone
PLAIN = 80  # columns of a paragraph in a pipe


def show_page(markdown: str) -> None:
    """Print a page on standard output."""
    console = stdout()
    width = width_of(console.file) or PLAIN
    for block in re.split(r"\n{2,}", markdown.strip()):
        if block.startswith(ORIGIN):
            continue
        for part in _parts(block.splitlines(), width):
            console.print(part)
        console.print()


def _parts(lines: list[str], width: int) -> Iterator[Text | Table]:
    """A block of the page: lines between two empty ones."""
    while lines:
        kind = _kind(lines[0])
        end = next((i for i, line in enumerate(lines) if _kind(line) != kind), len(lines))
        block, lines = lines[:end], lines[end:]
        if kind == "|":
            yield _table(block)
        elif kind == "#":
            yield from (Text(_plain(line.lstrip("# ")), style="bold") for line in block)
        elif kind == " ":
            yield from (Text(part) for line in block for part in wrap(line, width))
        else:
            yield from map(Text, wrap(_plain(" ".join(block)), width))


def _kind(line: str) -> str:
    return next((kind for kind, start in (("|", "|"), ("#", "#"), (" ", "    ")) if line.startswith(start)), "")


def _table(lines: list[str]) -> Table:
    head, _, *rows = [[_plain(cell) for cell in line.strip("| ").split(" | ")] for line in lines]
    table = Table(*head)
    for row in rows:
        table.add_row(*row)
    return table


def _plain(text: str) -> str:
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text).replace("`", "")
