"""Strict reading of TOML tables into dataclasses, for settings of runs and for files of architectures."""

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin

from star.errors import UserError, nearest

KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", tuple: "a list"}
ITEMS = {int: "whole numbers", float: "numbers", str: "texts"}
LARGEST = 2**63
MOST_PARTS = 64  # of a key joined by dots: tomllib takes time that grows with their square
# Texts and comments; one that does not end reaches to the end, so that the search takes linear time.
QUOTED = re.compile(
    r'"""(?:\\.?|[^\\])*?(?:"{3,5}|\Z)|"(?:\\.?|[^"\\\n])*(?:"|$)'
    r"|'''.*?(?:'{3,5}|\Z)|'[^'\n]*(?:'|$)|#[^\n]*",
    re.DOTALL | re.MULTILINE,
)
LONG_KEY = re.compile(rf"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){{{MOST_PARTS}}}")

T = TypeVar("T")


def parse_table(text: str, where: str, has_small_numbers: bool = False) -> dict[str, Any]:
    """Return the table that a TOML text spells.

    Raises:
        UserError: not TOML, nested too deeply, or with a whole number of thousands of digits, or of more than 64 bits
            if the table `has_small_numbers`; the sentence begins with `where`.
    """
    if LONG_KEY.search(QUOTED.sub("q", text)):
        raise UserError(f"{where} is nested too deeply")
    try:
        table = tomllib.loads(text)
        is_small = not has_small_numbers or _is_small(table)
    except RecursionError as error:
        raise UserError(f"{where} is nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{where} is not a TOML file: {error}") from error
    except ValueError:  # of a whole number with thousands of digits
        is_small = False
    if not is_small:
        raise UserError(f"{where} holds a whole number that is too large: 64 bits are the most")
    return table


def _is_small(value: Any) -> bool:
    """Whether every whole number inside a TOML value fits into 64 bits."""
    if isinstance(value, dict | list):
        return all(map(_is_small, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, int) or abs(value) < LARGEST


def check_key(key: str, known: Collection[str], place: str = "") -> None:
    """Raise UserError with the nearest right key unless `key` is known; `place` is a clause such as " in [scale]"."""
    if key not in known:
        raise UserError(f"unknown key {key!r:.60}{place}{nearest(key, known)}")


def explain_mismatch(value: Any, annotation: Any) -> str:
    """Return "must be ..., not ..." unless a value has the type that a field is annotated with, else an empty text.

    Types are int, float, str, bool, a tuple of one of these, or a union with None. A whole number passes for a float.
    """
    kinds = [kind for kind in _members(annotation) if kind is not NoneType]
    if value is None and len(kinds) < len(_members(annotation)) or any(_matches(value, kind) for kind in kinds):
        return ""
    kind = kinds[0]
    wanted = f"{KINDS[tuple]} of {ITEMS[get_args(kind)[0]]}" if get_origin(kind) is tuple else KINDS[kind]
    return f"must be {wanted}, not {_shown(value)}"


def read_record(kind: type[T], table: Mapping[str, Any], place: str = "") -> T:
    """Return the dataclass `kind` with the values of a table, each checked against the type of its field.

    Raises:
        UserError: an unknown or a missing key, a value of the wrong type, or what `kind` itself refuses.
    """
    known = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
    values = {}
    for key, value in table.items():
        check_key(key, known, place)
        value = tuple(value) if isinstance(value, list) else value
        if mismatch := explain_mismatch(value, known[key].type):
            raise UserError(f"{key}{place} {mismatch}")
        values[key] = float(value) if float in _members(known[key].type) else value
    for name, one in known.items():
        if name not in values and one.default is MISSING and one.default_factory is MISSING:
            raise UserError(f"the key {name!r} is missing{place}")
    return kind(**values)


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)


def _matches(value: Any, kind: Any) -> bool:
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_matches(item, get_args(kind)[0]) for item in value)
    return type(value) is kind or kind is float and type(value) is int


def _shown(value: Any) -> str:
    return repr(list(value) if isinstance(value, tuple) else value)[:60]
