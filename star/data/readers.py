"""Readers of plain text and of JSON lines.

A reader is given what opens the file, the name to call it by and the name of the field that holds the text, if one was
given. It reads in a stream, yields pieces of text, ends every document with a newline, and raises UserError if the file
is not what its suffix claims. It yields None for a document whose text is null.
"""

import codecs
import json
from collections.abc import Callable, Iterator
from io import BufferedIOBase, BufferedReader, RawIOBase
from itertools import count

from star.data.chat import flatten_chat, shorten
from star.data.encoding import BOM
from star.data.fields import CHAT_FIELDS, TEXT_FIELDS, either, find_field
from star.data.text import LONGEST, check_length, check_start, check_text, not_text, to_document
from star.errors import UserError

PIECE = 1 << 20  # bytes read at once

Open = Callable[[], RawIOBase | BufferedIOBase]
Reader = Callable[[Open, str, str], Iterator[bytes | None]]


def read_library_module(open: Open, name: str, field: str) -> Iterator[bytes]:
    """Read a module of the standard library; skip it if it cannot be read as text, which is not the user's mistake."""
    try:
        yield b"".join(read_text(open, name, field))
    except (UserError, OSError):
        return


def read_text(open: Open, name: str, field: str) -> Iterator[bytes]:
    """Yield the pieces of a file that is one document."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    piece, carriage = b"\n", b""  # a CR whose LF may come with the next piece
    with open() as stream:
        data = stream.read(max(PIECE, len(BOM)))
        check_start(data, name)
        data = data.removeprefix(BOM) or stream.read(PIECE)
        while data:
            check_text(data, decoder, name)
            data = carriage + data
            carriage = b"\r" if data.endswith(b"\r") else b""
            if data := data.removesuffix(b"\r").replace(b"\r\n", b"\n"):
                yield (piece := data)
            data = stream.read(PIECE)
    check_text(b"", decoder, name, final=True)
    if carriage or not piece.endswith(b"\n"):
        yield b"\n"


def read_json_lines(open: Open, name: str, field: str) -> Iterator[bytes | None]:
    """Yield the documents of a file with a JSON object a line."""
    with open() as stream, BufferedReader(stream, PIECE) as lines:
        check_start(lines.peek(), name)
        for number in count(1):
            line, place = lines.readline(LONGEST + 1), f"{name} line {number}"
            if not line:
                return
            check_length(len(line), place)
            line = line.removeprefix(BOM)
            if line.strip():
                text = _json_text(line, field, place)
                yield None if text is None else to_document(text, place)


def _json_text(line: bytes, field: str, place: str) -> bytes | None:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise not_text(line, place, error) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise UserError(f"{place} is not a JSON object with a field {repr(field) if field else either(TEXT_FIELDS)}")
    found = find_field(row, field, place, _fields)
    text = found.held
    if isinstance(text, list) and (field or found.name in CHAT_FIELDS):
        text = flatten_chat(text, place)
    if text is None:
        return None
    if not isinstance(text, str):
        raise UserError(f"{found.name!r} of {place} is not text but {shorten(text)}")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{place} is not text: it holds half of a surrogate pair") from error


def _fields(value: object) -> dict | None:
    return value if isinstance(value, dict) else None
