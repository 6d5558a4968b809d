"""Readers of one file: each yields pieces of text, and ends every document with a newline.

A reader is given what opens the file and the name to call it by, reads in a stream, and raises UserError if the file
is not what its suffix claims. It yields None for a document whose text is null. A mark of the byte order before a file
or a document is no part of its text.
"""

import codecs
import json
from collections.abc import Callable, Iterable, Iterator
from io import BufferedIOBase, BufferedReader, RawIOBase

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from star.data.encoding import BOM, find_wide_encoding, may_be_latin
from star.errors import UserError

TEXT_FIELDS = ("text", "content")
PIECE = 1 << 20  # bytes read at once
ROWS = 256  # rows read at once from Parquet
POINTER = b"version https://git-lfs.github.com/spec/"  # how a file begins that Git LFS put in the place of the data

Open = Callable[[], RawIOBase | BufferedIOBase]
Reader = Callable[[Open, str], Iterator[bytes | None]]


def read_library_module(open: Open, name: str) -> Iterator[bytes]:
    """Read a module of the standard library; skip it if it cannot be read as text, which is not the user's mistake."""
    try:
        yield b"".join(filter(None, read_text(open, name)))
    except (UserError, OSError):
        return


def read_text(open: Open, name: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open() as stream:
        piece, data = b"\n", stream.read(max(PIECE, len(BOM)))
        _check_start(data, name)
        data = data.removeprefix(BOM) or stream.read(PIECE)
        while data:
            _check_text(data, decoder, name)
            yield (piece := data)
            data = stream.read(PIECE)
    _check_text(b"", decoder, name, final=True)
    if not piece.endswith(b"\n"):
        yield b"\n"


def _read_jsonl(open: Open, name: str) -> Iterator[bytes | None]:
    with open() as stream, BufferedReader(stream, PIECE) as lines:
        _check_start(lines.peek(), name)
        for number, line in enumerate(lines, start=1):
            line, place = line.removeprefix(BOM), f"{name} line {number}"
            if line.strip():
                text = _json_text(line, place)
                yield None if text is None else _document(text, place)


def _json_text(line: bytes, place: str) -> bytes | None:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise _not_text(line, place, error) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise UserError(f"{place} is not a JSON object with a field {_either(TEXT_FIELDS)}")
    name = _text_field(row, place)
    if row[name] is None:
        return None
    if not isinstance(row[name], str):
        raise UserError(f"{name!r} of {place} is not text but {json.dumps(row[name])[:40]}")
    try:
        return row[name].encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{place} is not text: it holds half of a surrogate pair") from error


def _read_parquet(open: Open, name: str) -> Iterator[bytes | None]:
    with open() as stream:
        try:
            # pre_buffer would fetch the column of the whole file before the first row.
            yield from _parquet_documents(pq.ParquetFile(stream, buffer_size=PIECE, pre_buffer=False), name)
        except (pa.ArrowException, OSError) as error:
            stream.seek(0)
            _check_start(stream.read(len(POINTER)), name)
            raise UserError(f"{name} is not a sound Parquet file: {str(error).splitlines()[0]}") from error


def _parquet_documents(table: pq.ParquetFile, file: str) -> Iterator[bytes | None]:
    name = _text_field(table.schema_arrow.names, file)
    kind = table.schema_arrow.field(name).type
    if not _is_text(kind.value_type if types.is_dictionary(kind) else kind):
        raise UserError(f"column {name!r} of {file} holds {kind}, not text")
    row = 0
    for batch in table.iter_batches(ROWS, columns=[name]):
        for text in _as_binary(batch.column(0)).to_pylist():
            row += 1
            if text is None:
                yield None
            elif text:
                yield _document(text, f"{file} row {row}")


def _as_binary(texts: pa.Array) -> pa.Array:
    """Return any kind of text as one that Python gets as bytes, because Parquet does not promise that strings are
    UTF-8.
    """
    if types.is_dictionary(texts.type):
        values = texts.dictionary.cast(pa.large_binary())  # not all kinds of text can be looked up by index
        return pa.DictionaryArray.from_arrays(texts.indices, values).dictionary_decode()
    return texts.cast(pa.large_binary())


def _is_text(kind: pa.DataType) -> bool:
    checks = (
        *(types.is_string, types.is_large_string, types.is_string_view),
        *(types.is_binary, types.is_large_binary, types.is_binary_view),
        types.is_null,  # what writers make of a column of nulls
    )
    return any(check(kind) for check in checks)


def _text_field(names: Iterable[str], place: str) -> str:
    for field in TEXT_FIELDS:
        if field in names:
            return field
    held = ", ".join(repr(name) for name in names) or "nothing"
    raise UserError(f"{place} has no {_either(TEXT_FIELDS)}; it has {held}")


def _either(names: Iterable[str]) -> str:
    return " or ".join(repr(name) for name in names)


def _document(text: bytes, place: str) -> bytes:
    text = text.removeprefix(BOM)
    _check_text(text, codecs.getincrementaldecoder("utf-8")(), place, final=True)
    return text if text.endswith(b"\n") else text + b"\n"


def _check_start(data: bytes, name: str) -> None:
    """Raise UserError if the first bytes show that the file is a pointer or is not in UTF-8."""
    if data.startswith(POINTER):
        raise UserError(f"{name} is not the data but a pointer to it by Git LFS; `git lfs pull` fetches the data")
    if find_wide_encoding(data):
        raise _not_text(data, name)


def _check_text(data: bytes, decoder: codecs.IncrementalDecoder, place: str, final: bool = False) -> None:
    try:
        decoder.decode(data, final)
    except UnicodeDecodeError as error:
        raise _not_text(data, place, error) from error
    if b"\0" in data:
        raise _not_text(data, place)


def _not_text(data: bytes, place: str, error: UnicodeDecodeError | None = None) -> UserError:
    """Return an error that names the encoding of the bytes if it can be guessed."""
    if wide := find_wide_encoding(data):
        return UserError(f"{place} is not text in UTF-8: it is {wide}; convert it to UTF-8")
    if b"\0" in data or error is None:
        return UserError(f"{place} is not text: it holds a NUL byte")
    guess = ", perhaps Latin-1; convert it to UTF-8" if may_be_latin(error.object, error.start) else ""
    return UserError(f"{place} is not text: it is not valid UTF-8{guess}")


READERS: dict[str, Reader] = {
    ".txt": read_text,
    ".text": read_text,
    ".md": read_text,
    ".rst": read_text,
    ".py": read_text,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
}
