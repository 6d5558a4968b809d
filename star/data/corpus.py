"""Reading and splitting a corpus.

Files are read as streams of pieces, and reading stops as soon as the wanted number of bytes is held, so a
corpus may be of any size. Every document ends with a newline. Nothing is drawn at random: order and split
follow from a hash of the files' names, so that the same files give the same corpus everywhere, on a disk or
in a bucket.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from star.data.files import File, called, find_files
from star.data.readers import read_text
from star.errors import UserError

VALID_SHARE = 10  # one file, document or byte in so many is for validation


@dataclass(frozen=True, eq=False)
class Corpus:
    """Bytes to train on and bytes to measure on, which share no file (or, of one file, no document).

    `train` and `valid` are read-only uint8 arrays; `digest` is a sha256 over both.
    """

    name: str
    train: np.ndarray
    valid: np.ndarray
    digest: str


def load_corpus(sources: tuple[str, ...], limit: int) -> Corpus:
    """Read at most `limit` bytes from `sources`, nine tenths of them for training.

    Args:
        sources: ("stdlib",) for the source text of the running interpreter's standard library, or paths of
            plain text, .jsonl or .parquet files (field "text" or "content"), or of directories of them. A path
            is a local one or a URI that pyarrow knows, such as s3://bucket/prefix/, whose credentials and
            endpoint come from the environment or from the URI itself.
        limit: bytes of text to keep.

    Two files or more are split by file; of a single file, every tenth document is for validation; of a single
    document, the last tenth.
    Raises UserError if a source is missing, unreadable, empty, not text, or not what its suffix says.
    """
    name = ", ".join(map(called, sources))
    try:
        train, valid = _split(find_files(sources), limit)
    except OSError as error:
        raise UserError(f"cannot read {error.filename or name}: {error.strerror or error}") from error
    if not train.size + valid.size:
        raise UserError(f"corpus {name} is empty")
    digest = hashlib.sha256(f"{train.size} {valid.size} ".encode())
    digest.update(train.data)
    digest.update(valid.data)
    return Corpus(name, train, valid, digest.hexdigest())


def _split(files: list[File], limit: int) -> tuple[np.ndarray, np.ndarray]:
    room = limit // VALID_SHARE
    if len(files) > 1:
        cut = max(1, round(len(files) / VALID_SHARE))
        return _fill(_pieces(files[cut:]), limit - room), _fill(_pieces(files[:cut]), room)
    if files[0].read is read_text:
        return _cut(_fill(_pieces(files), limit))
    # Read twice rather than held twice. The second document is the first for validation, so that two suffice.
    train = _fill((text for i, text in enumerate(_pieces(files)) if i % VALID_SHARE != 1), limit - room)
    valid = _fill((text for i, text in enumerate(_pieces(files)) if i % VALID_SHARE == 1), room)
    return (train, valid) if valid.size else _cut(train)


def _cut(text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    place = text.size - text.size // VALID_SHARE
    return text[:place], text[place:]


def _fill(pieces: Iterable[bytes], limit: int) -> np.ndarray:
    """The first `limit` bytes of the pieces; what comes after is never read."""
    held = bytearray()
    for piece in pieces:
        held += piece[: limit - len(held)]
        if len(held) == limit:
            break
    text = np.frombuffer(held, dtype=np.uint8)
    text.flags.writeable = False
    return text


def _pieces(files: Iterable[File]) -> Iterator[bytes]:
    for file in files:
        yield from file.read(file.open, file.name)
