"""A log of evaluations, written by the process that evaluates and read by the process that kills it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

NAME = "events.txt"
SECONDS = 0.05  # per evaluation
BEGUN, ENDED = "begun", "ended"


class Line(NamedTuple):
    """The beginning or end of one evaluation, with its time."""

    event: str
    genome: str
    time: float


class EventLog:
    """A log file in a folder, to which several processes may append."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    @contextmanager
    def evaluation(self, genome: str) -> Iterator[None]:
        """Log an evaluation that only takes time."""
        self._write(BEGUN, genome)
        time.sleep(SECONDS)
        yield
        self._write(ENDED, genome)

    def lines(self) -> list[Line]:
        """Return all complete lines so far."""
        text = self._path.read_text() if self._path.exists() else ""
        rows = (line.split() for line in text.splitlines(keepends=True) if line.endswith("\n"))
        return [Line(event, genome, float(seconds)) for event, genome, seconds in rows]

    def _write(self, event: str, genome: str) -> None:
        with open(self._path, "a", encoding="ascii") as file:
            file.write(f"{event} {genome} {time.time()!r}\n")
