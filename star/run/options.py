"""Declare a setting: its default, its help, its bounds and choices, and how a text is read as its value."""

from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from typing import Any

from star.errors import UserError
from star.units import read_amount

SEARCH, SPACE, COSTS = "Search", "Architectures", "Costs and limits"
TRAINING, STOPPING = "Training of proxies", "Early stopping"
RANKING, VERIFYING = "Estimates", "Verification"
WORKERS = "Workers and storage"
OPTION = "option"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """The properties of a setting besides its type and its default value."""

    help: str
    group: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    default: str = ""  # in words, where the default follows from other settings
    read: Callable[[str, Any], Any] | None = None  # (name, text) -> value, of a text that a person wrote
    in_file_only: bool = False  # a key of a run's TOML file, not an option of the command line


def option(default: Any, help: str, group: str, *, words: str = "", **details: Any) -> Any:
    """Declare a field of a dataclass of settings; `words` describe a default that follows from other settings."""
    return field(default=default, metadata={OPTION: Option(help=help, group=group, default=words, **details)})


def options_of(kind: type) -> dict[str, tuple[Field, Option]]:
    """Return the fields of a dataclass of settings with their options, by name."""
    return {one.name: (one, one.metadata[OPTION]) for one in fields(kind)}


def read_bytes(name: str, text: str) -> float:
    """Return the number of bytes that a text such as 2GB spells."""
    return read_amount(name, text, of_bytes=True)


def read_number(name: str, text: str) -> float:
    """Return the number that a text such as 8B or 1.5T spells."""
    return read_amount(name, text, of_bytes=False)


def read_count(text: str) -> int | None:
    """Return the whole number that a text spells, or None."""
    # Beyond some thousand digits int() refuses, and nobody means more than eighteen.
    return int(text) if text.isdecimal() and len(text) <= 18 else None


def read_workers(name: str, text: str) -> int:
    """Return the number of workers that a text asks for; 0 for auto, one per core."""
    workers = 0 if text == "auto" else read_count(text)
    if workers is None or (workers == 0 and text != "auto"):
        raise UserError(f"{name} must be auto or a number from 1, not {text[:40]!r}")
    return workers


def read_names(name: str, values: list[str] | str) -> tuple[str, ...]:
    """Return the names in texts of names joined by commas."""
    texts = [values] if isinstance(values, str) else values
    return tuple(one.strip() for text in texts for one in text.split(","))
