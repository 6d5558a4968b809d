"""Readers of a column of text or of chats in Parquet and Arrow files."""

from collections.abc import Iterable, Iterator
from io import BufferedIOBase, BufferedReader

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
from pyarrow import types

from star.data.chat import flatten_chat
from star.data.fields import CHAT_FIELDS, Field, find_field
from star.data.readers import PIECE, Open
from star.data.text import POINTER, check_start, to_document
from star.errors import UserError

ROWS = 256  # rows read at once
ARROW_FILE = b"ARROW1"  # how an IPC file begins; all else is taken for an IPC stream
# What damaged files raise: a name may not be UTF-8, and a size may be anything.
UNSOUND = (pa.ArrowException, OSError, MemoryError, OverflowError, UnicodeDecodeError)
RAW = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}


def read_parquet(open: Open, name: str, field: str) -> Iterator[bytes | None]:
    """Yield the documents of a Parquet file, one a row."""
    with open() as stream:
        try:
            # pre_buffer would fetch the column of the whole file before the first row.
            table = pq.ParquetFile(stream, buffer_size=PIECE, pre_buffer=False)
            column = _find_column(table.schema_arrow, field, name)
            yield from _documents(table.iter_batches(ROWS, columns=[column.name]), column, name)
        except UNSOUND as error:
            stream.seek(0)
            check_start(stream.read(len(POINTER)), name)
            raise _unsound(name, "Parquet", error) from error


def read_arrow(open: Open, name: str, field: str) -> Iterator[bytes | None]:
    """Yield the documents of an Arrow file, one a row: of an IPC stream, as `datasets` writes it, or of an IPC file, as
    Feather (version 2) is.
    """
    with open() as stream, BufferedReader(stream, PIECE) as source:
        try:
            schema = _open_arrow(source).schema
            column = _find_column(schema, field, name)
            options = ipc.IpcReadOptions(included_fields=[schema.names.index(column.path[0])])
            yield from _documents(_arrow_batches(_open_arrow(source, options)), column, name)
        except UNSOUND as error:
            source.seek(0)
            check_start(source.read(len(POINTER)), name)
            raise _unsound(name, "Arrow", error) from error


def _open_arrow(
    source: BufferedIOBase, options: ipc.IpcReadOptions | None = None
) -> ipc.RecordBatchFileReader | ipc.RecordBatchStreamReader:
    source.seek(0)
    is_file = source.read(len(ARROW_FILE)) == ARROW_FILE
    source.seek(0)
    return (ipc.open_file if is_file else ipc.open_stream)(source, options=options)


def _arrow_batches(reader: ipc.RecordBatchFileReader | ipc.RecordBatchStreamReader) -> Iterator[pa.RecordBatch]:
    is_file = isinstance(reader, ipc.RecordBatchFileReader)
    for batch in map(reader.get_batch, range(reader.num_record_batches)) if is_file else reader:
        for first in range(0, batch.num_rows, ROWS):
            yield batch.slice(first, ROWS)


def _unsound(name: str, kind: str, error: Exception) -> UserError:
    said = (str(error) or type(error).__name__).splitlines()[0]
    return UserError(f"{name} is not a sound {kind} file: {said}")


def _find_column(schema: pa.Schema, wanted: str, file: str) -> Field:
    """Return the column of the text, or of the chats, and its type."""
    column = find_field(pa.struct(list(schema)), wanted, file, _columns)
    kind, is_chat = column.held, wanted or column.name in CHAT_FIELDS
    if not _is_text(kind.value_type if types.is_dictionary(kind) else kind) and not (is_chat and _is_chat(kind)):
        raise UserError(f"column {column.name!r} of {file} holds {kind}, not text")
    return column


def _columns(kind: pa.DataType) -> dict[str, pa.DataType] | None:
    if not types.is_struct(kind):
        return None
    found: dict[str, pa.DataType] = {}
    for one in kind:
        found.setdefault(one.name, one.type)  # of several columns of one name the first counts
    return found


def _documents(batches: Iterable[pa.RecordBatch], column: Field, file: str) -> Iterator[bytes | None]:
    row = 0
    for batch in batches:
        texts = batch.column(batch.schema.names.index(column.path[0]))
        texts.validate()  # a file may claim what it does not hold
        for name in column.path[1:]:
            texts = texts.flatten()[[one.name for one in texts.type].index(name)]  # null where the record is
        for text in _chats(texts, row, file) if _is_chat(texts.type) else _as_binary(texts).to_pylist():
            row += 1
            if text is None:
                yield None
            elif text:
                yield to_document(text, f"{file} row {row}")


def _chats(chats: pa.Array, row: int, file: str) -> Iterator[bytes | None]:
    chats.validate(full=True)
    for number, messages in enumerate(chats, start=row + 1):
        place = f"{file} row {number}"
        try:
            text = flatten_chat(messages.as_py() or [], place)
        except UnicodeDecodeError as error:
            raise UserError(f"{place} is not text: it is not valid UTF-8") from error
        yield None if text is None else text.encode()


def _as_binary(texts: pa.Array) -> pa.Array:
    """Return any kind of text as one that Python gets as bytes, because files do not promise that strings are UTF-8."""
    if types.is_dictionary(texts.type):
        values = _as_binary(texts.dictionary)  # not all kinds of text can be looked up by index
        return pa.DictionaryArray.from_arrays(texts.indices, values).dictionary_decode()
    raw = texts.view(RAW[texts.type]) if texts.type in RAW else texts
    raw.validate(full=True)
    return raw.cast(pa.large_binary())


def _is_text(kind: pa.DataType) -> bool:
    checks = (
        *(types.is_string, types.is_large_string, types.is_string_view),
        *(types.is_binary, types.is_large_binary, types.is_binary_view),
        types.is_null,  # what writers make of a column of nulls
    )
    return any(check(kind) for check in checks)


def _is_chat(kind: pa.DataType) -> bool:
    """Return whether a column holds lists of messages."""
    checks = (
        types.is_list,
        types.is_large_list,
        types.is_fixed_size_list,
        types.is_list_view,
        types.is_large_list_view,
    )
    return any(check(kind) for check in checks) and (types.is_struct(kind.value_type) or types.is_null(kind.value_type))
