"""Settings: how each is declared, with default, help, bounds and choices; how all are checked, read and written."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from star.architecture.toml_table import check_key, explain_mismatch, parse_table
from star.errors import SettingError, UserError, nearest
from star.units import read_amount

# Groups of options in the help of commands: of a search, ...
SEARCH, SPACE, COSTS = "Search", "Architectures", "Costs and limits"
TRAINING, STOPPING = "Training of proxies", "Early stopping"
RANKING, VERIFYING = "Estimates", "Verification"
WORKERS = "Workers and storage"
# ... of a training, ...
MODEL, OPTIMIZATION, COMPUTING, CHECKPOINTS = "Model and text", "Optimization", "Computation", "Checkpoints"
# ... and of an evaluation.
TEXT_LOSS, TASKS, SAMPLES, SPEED = "Loss on text", "Tasks", "Samples", "Speed and memory"
VERDICT = "Comparison by training"
RECORD = "record"  # the table of a file of settings that says what they were used with: no setting
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


def check_settings(settings: Any) -> None:
    """Check each value of a dataclass of settings against its type, bounds and choices.

    Raises:
        SettingError: a value of the wrong type or out of bounds.
        UserError: an unknown word.
    """
    for name, (declared, known) in options_of(type(settings)).items():
        value = getattr(settings, name)
        if mismatch := explain_mismatch(value, declared.type):
            raise SettingError(name, mismatch)
        for one in value if isinstance(value, tuple) else (value,):
            if known.choices and one is not None and one not in known.choices:
                raise UserError(f"unknown {name} {one!r}{nearest(one, known.choices)}")
        if value is not None and known.low is not None:
            _check_bounds(name, value, known.low, known.high)


def _check_bounds(name: str, value: float, low: float, high: float | None) -> None:
    if value == math.inf:
        raise SettingError(name, f"must be finite, not {value}")
    if (low, high) == (0, 1) and not 0 <= value <= 1:
        raise SettingError(name, f"must lie between 0 and 1, not {value}")
    if not low <= value:
        raise SettingError(name, f"must be at least {low}, not {value}")
    if high is not None and value > high:
        raise SettingError(name, f"must be at most {high}, not {value!s:.40}")


def read_values(kind: type, table: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return the values of a TOML table as those of a dataclass of settings, by name.

    Raises:
        UserError: an unknown key, with the nearest right one, or an amount that cannot be read; `place` is a clause
            such as " in the configuration".
    """
    known, values = options_of(kind), {}
    for key, value in table.items():
        check_key(key, known, place)
        declared, details = known[key]
        if isinstance(value, list):
            value = tuple(value)
        elif isinstance(value, str) and details.read and declared.type in (float, float | None):
            value = details.read(key, value)
        values[key] = value
    return values


def to_toml(settings: Any, record: Mapping[str, str] | None = None) -> str:
    """Return the TOML text of a dataclass of settings, without those that are None; `record` becomes its last table."""
    values = {one.name: getattr(settings, one.name) for one in fields(settings)}
    lines = [f"{key} = {_literal(value)}" for key, value in values.items() if value is not None]
    if record:
        lines += ["", f"[{RECORD}]", *(f"{key} = {_literal(value)}" for key, value in record.items())]
    return "\n".join(lines) + "\n"


def read_record(text: str) -> dict[str, str]:
    """Return the record in a text that `to_toml` wrote: versions of libraries and digests, by name."""
    record = parse_table(text, "the configuration").get(RECORD, {})
    if not isinstance(record, dict):
        raise UserError(f"{RECORD} must be a table, not {record!r}")
    return {key: str(value) for key, value in record.items()}


def _literal(value: int | float | str | bool | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, str) and "\n" in value and "'" not in value and value.replace("\n", "").isprintable():
        return f"'''\n{value}'''"  # the text of a file, as a person wrote it
    # JSON and TOML write booleans, numbers and strings alike, but for DEL, which JSON leaves bare.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def read_bytes(name: str, text: str) -> float:
    """Return the number of bytes that a text such as 2GB spells."""
    return read_amount(name, text, of_bytes=True)


def read_number(name: str, text: str) -> float:
    """Return the number that a text such as 8B or 1.5T spells."""
    return read_amount(name, text, of_bytes=False)


def read_number_or_zero(name: str, text: str) -> float:
    """Return the number that a text such as 8B, 1.5T or 0 spells."""
    return 0.0 if text.strip() == "0" else read_number(name, text)


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


def read_counts(name: str, values: list[str]) -> tuple[int, ...]:
    """Return the whole numbers above 0 in texts of numbers joined by commas."""
    found = [(one, read_count(one)) for one in read_names(name, values)]
    for text, number in found:
        if not number:
            raise UserError(f"{name} must be whole numbers above 0, such as 128,256, not {text[:40]!r}")
    return tuple(number for _, number in found if number)


def read_names(name: str, values: list[str] | str) -> tuple[str, ...]:
    """Return the names in texts of names joined by commas."""
    texts = [values] if isinstance(values, str) else values
    return tuple(one.strip() for text in texts for one in text.split(","))
