"""The files of a directory, on a disk or in a bucket, and which of them are read."""

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import PurePath
from typing import NamedTuple

from star.data import saved
from star.data.compression import DECODERS
from star.data.formats import Format, describe_formats, find_format, find_suffix
from star.data.readers import Open
from star.data.report import describe
from star.errors import UserError

# Names of texts about a data set, which are read only where there is nothing else.
ABOUT = re.compile(r"(readme|licen[cs]e|copying|data(set)?[-_ ]?card)(?![a-z])[^/]*$", re.IGNORECASE)
ABOUT_SUFFIXES = ("", ".md", ".rst", ".text", ".txt")


class File(NamedTuple):
    """A file of a corpus.

    Attributes:
        key: what its place in order and split is derived from: its name relative to the source.
        name: what sentences call it.
        identity: by which a file that two sources name is known.
        side: TRAIN or VALID of `saved` if the data set says so; empty if it follows from the hash of the key.
        is_built_in: it belongs to a corpus that has a name in place of a path.
    """

    key: str
    name: str
    identity: str
    format: Format
    open: Open
    side: str = ""
    is_built_in: bool = False


class Entry(NamedTuple):
    """Regular file of a directory: its name relative to the directory, its size, what opens it, and what makes the file
    of a corpus of it.
    """

    key: str
    num_bytes: int | None
    open: Open
    make: Callable[[Format], File]


Found = tuple[list[File], Counter[str]]  # what to read, and how much was left out for each reason


def choose(entries: list[Entry], left_out: Counter[str], source: str) -> Found:
    """Return the data files of a directory and the number of its other files by reason. Raise UserError if there are
    none.
    """
    sides = saved.find_sides({entry.key: entry.open for entry in entries}, source)
    left_out += sides.left_out
    entries = [entry for entry in entries if entry.key not in sides.dropped]
    whole = [entry for entry in entries if entry.num_bytes != 0]
    left_out["empty"] = len(entries) - len(whole)
    data = [entry for entry in whole if not _is_about(entry.key)]
    if data:
        left_out["README or licence"] = len(whole) - len(data)
    files = []
    for entry in data or whole:
        if one := find_format(entry.key):
            files.append(entry.make(one)._replace(side=sides.of.get(entry.key, "")))
        else:
            kind = find_suffix(readable(entry.key))
            left_out[f"{kind} (a kind that is not read)" if kind else "without a suffix"] += 1
    left_out = +left_out
    if not files:
        rest = f"; left out: {describe(left_out)}" if left_out else ""
        raise UserError(f"corpus {source} holds no {describe_formats()} file with anything in it{rest}")
    return files, left_out


def _is_about(key: str) -> bool:
    name = key.rpartition("/")[2]
    path = PurePath(name.lower())
    return (
        bool(ABOUT.match(name)) and (path.with_suffix("") if path.suffix in DECODERS else path).suffix in ABOUT_SUFFIXES
    )


def readable(name: str) -> str:
    """Return a name with escapes in place of what is not UTF-8."""
    return os.fsencode(name).decode(errors="backslashreplace")
