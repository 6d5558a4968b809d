"""Pieces of documents, and streams of them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Piece(NamedTuple):
    """Part of a document.

    Attributes:
        text: its bytes, a megabyte or a whole document; empty where nothing but the end is told.
        ends: whether the document ends with it. One that is cut has no end.
        part: the number of the weighted source that it comes from; 0 for sources without weights.
    """

    text: bytes
    ends: bool
    part: int = 0


def take(pieces: Iterable[Piece], room: int) -> Iterator[Piece]:
    """Yield the first `room` bytes of the pieces, and ask for no piece after them."""
    for piece in pieces:
        if len(piece.text) >= room:
            yield piece._replace(text=piece.text[:room], ends=piece.ends and len(piece.text) == room)
            return
        room -= len(piece.text)
        yield piece


def skip(pieces: Iterable[Piece], num_bytes: int) -> Iterator[Piece]:
    """Yield what comes after the first bytes of the pieces."""
    for piece in pieces:
        text = piece.text[num_bytes:]
        num_bytes -= len(piece.text) - len(text)
        if text or piece.ends:
            yield piece._replace(text=text)
