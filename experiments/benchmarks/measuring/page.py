"""Tables and pages of measurements in Markdown."""

import shlex
import sys
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch

from star.cost.process import processor_name

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a title. `note` says how to read it."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def markdown(self) -> str:
        """Return the table, with all columns but the first aligned to the right."""
        rule = ("---", *["--:"] * (len(self.columns) - 1))
        lines = [f"| {' | '.join(row)} |" for row in (self.columns, rule, *self.rows)]
        return "\n".join([f"## {self.title}", "", self.note, "", *lines])


@dataclass(frozen=True, slots=True)
class Page:
    """A page: command, machine, explanation and tables."""

    title: str
    reading: str
    tables: list[Table]
    device: torch.device

    def markdown(self) -> str:
        """Return the whole page."""
        parts = [f"# {self.title}", self._head(), self.reading, *(table.markdown() for table in self.tables)]
        return "\n\n".join(parts) + "\n"

    def deliver(self, path: Path | None) -> None:
        """Write the page, or print it if there is no path."""
        if path is None:
            print(self.markdown(), end="")
        else:
            path.write_text(self.markdown(), encoding="utf-8")

    def _head(self) -> str:
        script = Path(sys.argv[0]).resolve()
        shown = script.relative_to(ROOT) if script.is_relative_to(ROOT) else script
        head = {
            "Command": f"`{shlex.join(['python', str(shown), *sys.argv[1:]])}`",
            "Machine": describe(self.device),
            "Versions": f"torch {torch.__version__}, transformers {version('transformers')}",
            "Date": date.today().isoformat(),
        }
        return "\n".join(f"- {key}: {value}" for key, value in head.items())


def describe(device: torch.device) -> str:
    """Return the name of the processor or GPU in use."""
    threads = torch.get_num_threads()
    cpu = f"{processor_name()}, {threads} thread{'s' if threads > 1 else ''}"
    return f"{torch.cuda.get_device_name(device)}, driven by {cpu}" if device.type == "cuda" else cpu
