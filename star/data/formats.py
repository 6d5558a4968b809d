"""The kinds of files that are read, by suffix."""

from collections.abc import Iterator
from functools import partial
from pathlib import PurePath
from typing import NamedTuple

from star.data.columns import read_arrow, read_parquet
from star.data.compression import DECODERS, decompress
from star.data.readers import Open, Reader, read_json_lines, read_library_module, read_text


class Format(NamedTuple):
    """How a file is read, and whether all of it is one document."""

    read: Reader
    is_one_document: bool = False


TEXT, JSON_LINES = Format(read_text, is_one_document=True), Format(read_json_lines)
LIBRARY_MODULE = Format(read_library_module, is_one_document=True)

FORMATS: dict[str, Format] = {
    ".txt": TEXT,
    ".text": TEXT,
    ".md": TEXT,
    ".rst": TEXT,
    ".py": TEXT,
    ".jsonl": JSON_LINES,
    ".ndjson": JSON_LINES,
    ".parquet": Format(read_parquet),
    ".arrow": Format(read_arrow),
    ".feather": Format(read_arrow),
}
# What a compressed file may hold. Compressed .json is lines in corpora of the web; .json as such is not.
COMPRESSED = {".json": JSON_LINES} | {key: one for key, one in FORMATS.items() if one in (TEXT, JSON_LINES)}
ARCHIVES = (*DECODERS, ".zip")  # suffixes that say nothing of what is inside


def find_format(name: str) -> Format | None:
    """Return how a file of this name is read; None if it is not."""
    suffix = find_suffix(name)
    inner, _, outer = suffix.rpartition(".")
    if f".{outer}" in DECODERS:
        return _compressed(COMPRESSED[inner], f".{outer}") if inner in COMPRESSED else None
    return FORMATS.get(suffix)


def find_suffix(name: str) -> str:
    """Return the suffix of a file in lower case, with the one before it if it is compressed: ".jsonl.gz"."""
    suffixes = PurePath(name.lower()).suffixes
    return "".join(suffixes[-2:] if suffixes and suffixes[-1] in ARCHIVES else suffixes[-1:])


def describe_formats() -> str:
    """Return the suffixes that are read."""
    return f"{', '.join(FORMATS)} (text and JSON lines also as {', '.join(DECODERS)})"


def _compressed(inside: Format, suffix: str) -> Format:
    def read(open: Open, name: str, field: str) -> Iterator[bytes | None]:
        return inside.read(partial(decompress, open, name, suffix), name, field)

    return inside._replace(read=read)
