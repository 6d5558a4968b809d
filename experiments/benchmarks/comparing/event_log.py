"""What was evaluated, and when: written by those who evaluate, before and after, and read by who kills them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

NAME = "log.txt"
SECONDS = 0.05  # that an evaluation takes
BEGUN, ENDED = "begun", "ended"


class Line(NamedTuple):
    """One evaluation begun or ended, and the time of day."""

    event: str
    genome: str
    time: float


class EventLog:
    """A file in a folder to which several processes may append."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    @contextmanager
    def evaluation(self, genome: str) -> Iterator[None]:
        """An evaluation, of which only the time is real."""
        self._write(BEGUN, genome)
        time.sleep(SECONDS)
        yield
        self._write(ENDED, genome)

    def lines(self) -> list[Line]:
        """All so far, without one that is being written."""
        text = self._path.read_text() if self._path.exists() else ""
        rows = (line.split() for line in text.splitlines(keepends=True) if line.endswith("\n"))
        return [Line(event, genome, float(seconds)) for event, genome, seconds in rows]

    def _write(self, event: str, genome: str) -> None:
        with open(self._path, "a", encoding="ascii") as file:
            file.write(f"{event} {genome} {time.time()!r}\n")
