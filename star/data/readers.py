"""Reading one file: each reader yields pieces of text, and ends every document with a newline.

A reader is given what opens the file and the name to call it by, reads in a stream, and raises UserError if the file
is not what its suffix claims.
"""

import codecs
import json
from collections.abc import Callable, Iterable, Iterator
from io import BufferedIOBase, BufferedReader, RawIOBase

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from star.errors import UserError

TEXT_FIELDS = ("text", "content")
PIECE = 1 << 20  # bytes read at once
ROWS = 256  # rows read at once from Parquet

Open = Callable[[], RawIOBase | BufferedIOBase]
Reader = Callable[[Open, str], Iterator[bytes]]


def read_library_module(open: Open, name: str) -> Iterator[bytes]:
    """A module that cannot be read as text is no mistake of the person who runs us: it is left out."""
    try:
        yield b"".join(read_text(open, name))
    except (UserError, OSError):
        return


def read_text(open: Open, name: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open() as stream:
        piece = b"\n"
        while data := stream.read(PIECE):
            _check_text(data, decoder, name)
            yield (piece := data)
    _check_text(b"", decoder, name, final=True)
    if not piece.endswith(b"\n"):
        yield b"\n"


def _read_jsonl(open: Open, name: str) -> Iterator[bytes]:
    with open() as stream, BufferedReader(stream, PIECE) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _document(_json_text(line, f"{name} line {number}"), f"{name} line {number}")


def _json_text(line: bytes, place: str) -> bytes:
    try:
        row = json.loads(line)
    except UnicodeDecodeError as error:
        raise UserError(f"{place} is not text: it is not valid UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise UserError(f"{place} is not a JSON object with a field {_either(TEXT_FIELDS)}")
    name = _text_field(row, place)
    if not isinstance(row[name], str):
        raise UserError(f"{name!r} of {place} is not text but {json.dumps(row[name])[:40]}")
    try:
        return row[name].encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{place} is not text: it holds half of a surrogate pair") from error


def _read_parquet(open: Open, name: str) -> Iterator[bytes]:
    with open() as stream:
        try:
            # pre_buffer would fetch the column of the whole file before the first row.
            yield from _parquet_documents(pq.ParquetFile(stream, buffer_size=PIECE, pre_buffer=False), name)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{name} is not a sound Parquet file: {str(error).splitlines()[0]}") from error


def _parquet_documents(table: pq.ParquetFile, file: str) -> Iterator[bytes]:
    name = _text_field(table.schema_arrow.names, file)
    kind = table.schema_arrow.field(name).type
    if not _is_text(kind.value_type if types.is_dictionary(kind) else kind):
        raise UserError(f"column {name!r} of {file} holds {kind}, not text")
    row = 0
    for batch in table.iter_batches(ROWS, columns=[name]):
        texts = batch.column(0)
        if types.is_dictionary(kind):
            texts = texts.dictionary_decode()
        # As binary, because Parquet does not promise that its strings are valid UTF-8.
        for text in texts.cast(pa.large_binary()).to_pylist():
            row += 1
            if text:
                yield _document(text, f"{file} row {row}")


def _is_text(kind: pa.DataType) -> bool:
    checks = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
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
    _check_text(text, codecs.getincrementaldecoder("utf-8")(), place, final=True)
    return text if text.endswith(b"\n") else text + b"\n"


def _check_text(data: bytes, decoder: codecs.IncrementalDecoder, place: str, final: bool = False) -> None:
    if b"\0" in data:
        raise UserError(f"{place} is not text: it holds a NUL byte")
    try:
        decoder.decode(data, final)
    except UnicodeDecodeError as error:
        raise UserError(f"{place} is not text: it is not valid UTF-8") from error


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
