"""The sources of a corpus as a person writes them: NAME each, or NAME=WEIGHT each."""

import math
import os
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from star.data.builtin import BUILT_IN
from star.errors import UserError


class Source(NamedTuple):
    """A path, a URI or the name of a built-in corpus, and its weight; None if it has none."""

    name: str
    weight: float | None = None


def read_sources(texts: Iterable[str], exists: Callable[[str], bool]) -> tuple[Source, ...]:
    """Return the sources that texts name. Texts with weights may be joined by commas.

    A weight is the number after the last "=". What `exists` with that name is no weighted source, and the last
    parameter in the query of a URI is no weight.
    Raises UserError if a weight is not a positive number, or if some sources have weights and others have none.
    """
    sources = tuple(_read(one, exists) for text in texts for one in split_list(text, exists))
    bare = [source.name for source in sources if source.weight is None]
    if bare and len(bare) < len(sources):
        raise UserError(f"give every source of the corpus a weight, or none: {called(bare[0])} has none")
    return sources


def split_list(text: str, exists: Callable[[str], bool]) -> list[str]:
    """Return the sources that commas join in a text. A comma that does not follow a weight is part of a name."""
    ended: list[str] = []
    held = ""
    for piece in text.split(","):
        held = f"{held},{piece}" if held else piece
        if cut_weight(held):
            ended.append(held.strip() if ended else held)
            held = ""
    if not ended or len(ended) + bool(held) > 1 and exists(text):
        return [text]
    return [*ended, held] if held else ended


def _read(text: str, exists: Callable[[str], bool]) -> Source:
    if not text:
        raise UserError("the name of a source of the corpus is empty")
    cut, (name, equals, rest) = cut_weight(text), text.rpartition("=")
    if cut and not exists(text):
        if not 0 < cut[1] < math.inf or not name:
            raise UserError(f"weight {rest} of {called(name) or 'no source'} must be a positive number")
        return Source(*cut)
    if equals and not cut and not is_uri(text) and not exists(text) and (name in BUILT_IN or exists(name)):
        raise UserError(f"weight {rest!r} of {name} is not a number")
    return Source(text)


def cut_weight(text: str) -> tuple[str, float] | None:
    """Return the name and the number in NAME=NUMBER; None for another text. A parameter of a query is no weight."""
    name, _, number = text.rpartition("=")
    parameter = text.rpartition("?")[2].rpartition("&")[2]
    if is_uri(text) and "?" in text and parameter.count("=") < 2:
        return None
    try:
        return name, float(number)
    except ValueError:
        return None


def path_exists(name: str) -> bool:
    """Return whether a name is that of a file or directory on this machine."""
    return not is_uri(name) and os.path.exists(name)  # False for a name that is too long


def is_uri(source: str) -> bool:
    """Return whether a source is a URI, not a path."""
    return "://" in source


def called(source: str) -> str:
    """Return the name of a source for messages: a URI without possible secrets, which are its query, but for a weight
    after it, and the text between the colon and an @.
    """
    if not is_uri(source):
        return source
    place, _, query = source.partition("?")
    weighted = cut_weight(source) if query else None
    # A key may hold a slash that should have been escaped; digits up to a slash are a port.
    place = re.sub(r"://([^/@:]*):(?!\d+(?:/|$)).*?@", r"://\1@", place)
    return f"{place}={weighted[1]:g}" if weighted else place
