"""The documents of a corpus as tokens, one after the other, with the bytes of text that they stand for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from star.data.builtin import STDLIB
from star.data.corpus import Part
from star.data.pieces import Piece
from star.data.split import open_split
from star.data.text_source import TextSource
from star.data.token_files import chunks, encode_chunks, open_corpus, tokenizer_of
from star.data.tokenizer import Tokenizer
from star.errors import UserError
from star.metrics.settings import ALL
from star.metrics.trained_model import TrainedModel

LONGEST_CHARACTER = 4  # bytes in UTF-8


class Document(NamedTuple):
    """The tokens of a document, its last one included where the tokenizer has one, and the bytes of its text."""

    tokens: np.ndarray
    num_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is read of a corpus.

    Attributes:
        source: the corpus.
        side: "validation", or "all" for the text to train on and then the text to validate on.
        tokens: about so many are read at most.
    """

    source: TextSource
    side: str
    tokens: int


def choose_source(trained: TrainedModel, sources: tuple[str, ...], text_field: str) -> TextSource:
    """Return the corpus of these sources; without any, the one that a model was trained on, else the standard library.

    The corpus that it was trained on is divided into two sides as for the training.
    """
    own = trained.source
    if own and (not sources or sources == own.sources and text_field in ("", own.text_field)):
        return own
    return TextSource(sources=sources or (STDLIB,), text_field=text_field)


def read_documents(reading: Reading, trained: TrainedModel) -> Iterator[Document]:
    """Yield the documents of a corpus, in the order in which it is trained on.

    Text is tokenised as for training. Of the corpus that the model was trained on, a document for validation that is
    trained on too is left out, for which the text to train on is read first. Sources with weights have shares of the
    tokens in proportion to them.

    Raises:
        UserError: the corpus cannot be read, is empty, or was tokenised by another tokenizer.
    """
    if reading.source.folder:
        yield from _read_tokens(reading, trained.tokenizer)
        return
    source = reading.source
    split = open_split(source.sources, source.text_field, source.limit)
    if source is trained.source and reading.side != ALL:
        for _ in split.train():
            pass
    total = sum(one.weight or 1 for one in split.sections)
    for one in split.sections:
        pieces = split.valid_of(one) if reading.side != ALL else chain(split.train_of(one), split.valid_of(one))
        yield from tokenise(pieces, trained.tokenizer, _share(reading.tokens, one.weight or 1, total))


def _share(tokens: int, weight: float, total: float) -> int:
    return max(1, round(tokens * (weight / total)))


def start_token(tokenizer: Tokenizer) -> int:
    """Return the token before the first one of a document: the one that ends the document before it, else a newline."""
    if tokenizer.end is not None:
        return tokenizer.end
    newline = tokenizer.encode(["\n"])[0]
    return int(newline[-1]) if newline.size else 0


def tokenise(pieces: Iterable[Piece], tokenizer: Tokenizer, limit: int) -> Iterator[Document]:
    """Yield documents of about `limit` tokens in all; the last one is cut where about so many are reached."""
    held: list[np.ndarray] = []
    num_bytes = 0
    for chunk in chunks(pieces):
        (tokens,) = encode_chunks([chunk], tokenizer)
        is_last = tokens.size >= limit
        if tokens.size > limit:
            chunk = _shorten(chunk, limit / tokens.size)
            (tokens,) = encode_chunks([chunk], tokenizer)
        limit -= tokens.size
        held.append(tokens)
        num_bytes += len(chunk.text)
        if chunk.ends or is_last:
            yield Document(np.concatenate(held), num_bytes)
            held, num_bytes = [], 0
        if is_last:
            return
    if held:
        yield Document(np.concatenate(held), num_bytes)


def _shorten(chunk: Piece, share: float) -> Piece:
    """Return the first part of a chunk, about that share of its bytes: at least a character, and whole ones."""
    text = chunk.text[: max(LONGEST_CHARACTER, round(len(chunk.text) * share))]
    return Piece(text.decode(errors="ignore").encode(), False, chunk.part)


def _read_tokens(reading: Reading, tokenizer: Tokenizer) -> Iterator[Document]:
    """Yield the documents of a folder of tokens. Each token stands for as many bytes as those of the validation side do
    in the mean. Where nothing marks the end of a document, a side is one.
    """
    folder = reading.source.folder
    assert folder
    own = tokenizer_of(folder)
    if own.digest != tokenizer.digest:
        raise UserError(f"{folder} was built by tokenizer {own.name}, and the model has another, {tokenizer.name}")
    corpus = open_corpus(folder)
    parts = corpus.parts or (Part("", range(corpus.train.size), range(corpus.valid.size), 1.0, corpus.bytes_per_token),)
    total = sum(one.weight for one in parts)
    for one in parts:
        left = _share(reading.tokens, one.weight, total)
        sides = ((corpus.train, one.train), (corpus.valid, one.valid))
        for array, place in sides[reading.side != ALL :]:
            tokens = array[place.start : place.stop][:left]
            left -= tokens.size
            for document in _cut(tokens, tokenizer.end):
                yield Document(document, document.size * one.bytes_per_token)


def _cut(tokens: np.ndarray, end: int | None) -> Iterator[np.ndarray]:
    """Yield the documents in an array of tokens."""
    ends = np.flatnonzero(tokens == (-1 if end is None else end)) + 1
    yield from (one for one in np.split(tokens, ends) if one.size)
