"""Tables without rules, in which no word is cut.

A table that is too wide for the terminal gives its last column the room that is left, or lines of its own below each
row; where even the other columns are too wide, the rows stand side by side as columns.
"""

from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.text import Text

from star.cli.console import INDENT, printable, wrap

GAP = "  "
NARROWEST = 24  # columns that are worth wrapping text in


class Table:
    """Rows under headings; a heading that starts with '>' has its column flush right, and the last column may be
    prose."""

    def __init__(self, *columns: str) -> None:
        self._right = [column.startswith(">") for column in columns]
        self._rows = [[column.removeprefix(">") for column in columns]]

    def add_row(self, *cells: object) -> None:
        """Add a row; every cell is made printable."""
        assert len(cells) == len(self._right), cells
        self._rows.append([printable(cell) for cell in cells])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        for line, is_head in self.lines(console.width if console.is_terminal else None):
            yield Text(line, style="bold" if is_head else "", no_wrap=True, overflow="ignore")

    @property
    def heads(self) -> list[str]:
        """The headings."""
        return self._rows[0]

    def fits(self, width: int | None) -> bool:
        """Whether each row takes one line of a terminal of that many columns."""
        return width is None or sum(self._widths()) + len(GAP) * (len(self._right) - 1) <= width

    def _widths(self) -> list[int]:
        return [max(map(cell_len, column)) for column in zip(*self._rows, strict=True)]

    def lines(self, width: int | None) -> Iterator[tuple[str, bool]]:
        """Return the lines of a terminal of that many columns, or of a pipe, and whether each is a heading."""
        widths = self._widths()
        *others, _ = widths
        taken = sum(others) + len(GAP) * len(others)
        if width is None or self.fits(width):
            return ((self._line(row, widths), i == 0) for i, row in enumerate(self._rows))
        longest = max((cell_len(word) for row in self._rows for word in row[-1].split()), default=0)
        if self._right[-1] or taken - len(GAP) > width:
            return self._side_by_side(width)
        room = width - taken
        if room >= max(longest, NARROWEST):
            return self._with_last(others, " " * taken, room, below=False)
        return self._with_last(others, " " * INDENT, width - INDENT, below=True)

    def _line(self, cells: list[str], widths: list[int]) -> str:
        padded = [
            " " * (width - cell_len(cell)) + cell if right else cell + " " * (width - cell_len(cell))
            for cell, width, right in zip(cells, widths, self._right, strict=False)
        ]
        return GAP.join(padded).rstrip()

    def _with_last(self, widths: list[int], indent: str, room: int, below: bool) -> Iterator[tuple[str, bool]]:
        """The last column wrapped to the room that there is for it, beside the others or below them."""
        for i, (*cells, last) in enumerate(self._rows):
            lines = wrap(last, room) if last else []
            start = self._line(cells, widths)
            if not below:
                start += indent[cell_len(start) :] + "".join(lines[:1])
                lines = lines[1:]
            yield start.rstrip(), i == 0
            yield from ((indent + line, i == 0) for line in lines)

    def _side_by_side(self, width: int) -> Iterator[tuple[str, bool]]:
        """Print the rows as columns behind the headings, as many at a time as fit."""
        heads, *rest = self._rows
        left = max(map(cell_len, heads))
        while rest:
            shown = 1
            while shown < len(rest) and left + sum(map(_room, rest[: shown + 1])) <= width:
                shown += 1
            sizes = [_room(row) for row in rest[:shown]]
            for i, (head, *cells) in enumerate(zip(heads, *rest[:shown], strict=True)):
                start = head + " " * (left - cell_len(head))
                if shown > 1:
                    flush = (" " * (size - cell_len(cell)) + cell for cell, size in zip(cells, sizes, strict=True))
                    yield start + "".join(flush), i == 0
                    continue
                for part in wrap(cells[0], max(width - left - len(GAP), NARROWEST)):
                    yield (start + GAP + part).rstrip(), i == 0
                    start = " " * left
            rest = rest[shown:]
            if rest:
                yield "", False


def _room(row: list[str]) -> int:
    """The columns that a row takes if it stands upright."""
    return len(GAP) + max(map(cell_len, row))
