"""Where the tokens of a training come from: text with a tokenizer, a folder of tokens, or shards of tokens."""

import json
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star.data.vocabulary import BYTES, LARGEST
from star.errors import UserError, disk_errors_reported

MANIFEST = "corpus.json"  # makes a folder of tokens a corpus
VERSION = 1
SHARDS = (".bin", ".npy")
DTYPES = {"uint8": 0xFF, "uint16": 0xFFFF, "uint32": 0xFFFFFFFF}  # of tokens: the largest that each holds


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSource:
    """Where the tokens of a training come from.

    Attributes:
        sources: as for `star.data.corpus.load_corpus`; or one folder of tokens, or of shards of tokens.
        tokenizer: "bytes", "bpe:N", or the path of one; empty for that of a folder of tokens, else bytes.
        text_field: name of the field that holds the text.
        limit: bytes of text to read, at most.
    """

    sources: tuple[str, ...]
    tokenizer: str = ""
    text_field: str = ""
    limit: int = sys.maxsize

    @property
    def folder(self) -> Path | None:
        """The folder of tokens that is the source, if one is."""
        folders = [Path(one) for one in self.sources if is_built(Path(one))]
        if folders and len(self.sources) > 1:
            raise UserError(
                f"{folders[0]} is a folder of tokens, which is a corpus of its own: name no other beside it"
            )
        return folders[0] if folders else None

    @property
    def is_plain_text(self) -> bool:
        """Whether the tokens are the bytes of text, which needs no files of tokens."""
        is_text = not self.folder and not any(find_shards(Path(one)) for one in self.sources)
        return is_text and self.tokenizer in ("", BYTES)


def is_built(path: Path) -> bool:
    """Return whether a folder holds a corpus as files of tokens."""
    return os.path.isfile(path / MANIFEST)  # False for a name that is too long


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what a folder of tokens says of itself. Raise UserError if it holds none."""
    with disk_errors_reported(f"read {folder / MANIFEST}"):
        data = (folder / MANIFEST).read_bytes()
    try:
        facts = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{folder / MANIFEST} is not JSON: {error}") from error
    if not isinstance(facts, dict) or facts.get("version") != VERSION:
        raise UserError(f"{folder / MANIFEST} is not one that this version of star wrote")
    if fault := _find_fault(facts):
        raise UserError(f"{folder / MANIFEST} is not one that star wrote: {fault}")
    return facts


def _find_fault(facts: dict[str, Any]) -> str:
    """Return what is wrong with a manifest; empty if nothing is."""
    for name in ("name", "tokenizer", "tokenizer_digest", "dtype"):
        if not isinstance(facts.get(name), str):
            return f"{name} is no text"
    if not _is_count(size := facts.get("vocab_size")) or not 1 <= size <= LARGEST:
        return "vocab_size is no size of a vocabulary"
    if facts["dtype"] not in DTYPES or size - 1 > DTYPES[facts["dtype"]]:
        return "dtype does not fit the vocabulary"
    for side in ("train", "valid"):
        rows = facts.get(side)
        is_table = isinstance(rows, list) and all(isinstance(row, list) and len(row) == 2 for row in rows)
        if not is_table or not rows or not all(map(_is_count, (number for row in rows for number in row))):
            return f"{side} has no counts"
    parts = facts.get("parts")
    if not isinstance(parts, list) or not all(isinstance(one, list) and len(one) == 2 for one in parts):
        return "parts is no list"
    if not all(isinstance(name, str) and _is_weight(weight) for name, weight in parts):
        return "a weight is not positive"
    return ""


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 60


def _is_weight(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf


def find_shards(source: Path) -> list[Path]:
    """Return the shards that a path stands for, in the order of their names; none if it is anything else."""
    if os.path.isdir(source):
        found = [one for one in sorted(source.iterdir()) if one.is_file() and not one.name.startswith(".")]
        return found if found and all(one.suffix in SHARDS for one in found) else []
    return [source] if source.suffix in SHARDS and os.path.isfile(source) else []
