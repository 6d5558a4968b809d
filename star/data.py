"""Text to train on: the standard library's own source, or a person's files, as two arrays of bytes.

Files are read as streams of pieces, and reading stops as soon as the wanted number of bytes is held, so a
corpus may be of any size. Every document ends with a newline. Nothing is drawn at random: order and split
follow from a hash of the files' names, so that the same files give the same corpus everywhere.
"""

import codecs
import hashlib
import json
import os
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from star.scales import nearest
from star.spec import UserError

STDLIB = "stdlib"
VALID_SHARE = 10  # one file, document or byte in so many is for validation
TEXT_FIELDS = ("text", "content")
PIECE = 1 << 20  # bytes read at once from plain text
ROWS = 256  # rows read at once from Parquet
NOT_LIBRARY = frozenset(
    ("site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__")
    + ("encodings", "pydoc_data")  # generated tables, one of them as long as half of the validation text
)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Bytes to train on and bytes to measure on, which share no file (or, of one file, no document).

    `train` and `valid` are read-only uint8 arrays; `digest` is a sha256 over both.
    """

    name: str
    train: np.ndarray
    valid: np.ndarray
    digest: str


class _File(NamedTuple):
    key: str  # what its place in order and split is derived from
    path: Path
    read: Callable[[Path], Iterator[bytes]]


def load_corpus(sources: tuple[str, ...], limit: int) -> Corpus:
    """Read at most `limit` bytes from `sources`, nine tenths of them for training.

    Args:
        sources: ("stdlib",) for the source text of the running interpreter's standard library, or paths of
            plain text, .jsonl or .parquet files (field "text" or "content"), or of directories of them.
        limit: bytes of text to keep.

    Two files or more are split by file; of a single file, every tenth document is for validation; of a single
    document, the last tenth.
    Raises UserError if a source is missing, empty, not text, or not what its suffix says.
    """
    name = ", ".join(sources)
    try:
        train, valid = _split(_find_files(sources), limit)
    except OSError as error:
        raise UserError(f"cannot read {error.filename or name}: {error.strerror or error}") from error
    if not train.size + valid.size:
        raise UserError(f"corpus {name} is empty")
    digest = hashlib.sha256(f"{train.size} {valid.size} ".encode())
    digest.update(train.data)
    digest.update(valid.data)
    return Corpus(name, train, valid, digest.hexdigest())


def _split(files: list[_File], limit: int) -> tuple[np.ndarray, np.ndarray]:
    room = limit // VALID_SHARE
    if len(files) > 1:
        cut = max(1, round(len(files) / VALID_SHARE))
        return _fill(_pieces(files[cut:]), limit - room), _fill(_pieces(files[:cut]), room)
    if files[0].read is _read_text:
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


def _pieces(files: Iterable[_File]) -> Iterator[bytes]:
    for file in files:
        yield from file.read(file.path)


# Finding files


def _find_files(sources: tuple[str, ...]) -> list[_File]:
    """Every file of the sources once, in an order that mixes folders: by the hash of the relative path."""
    assert sources, "a corpus needs a source"
    files: dict[Path, _File] = {}
    for source in sources:
        for file in _library() if source == STDLIB else _source_files(Path(source)):
            files.setdefault(file.path.resolve(), file)
    return sorted(files.values(), key=lambda file: (hashlib.sha256(file.key.encode()).digest(), file.path))


def _library() -> list[_File]:
    root = Path(sysconfig.get_path("stdlib"))
    found = [
        _File(path.relative_to(root).as_posix(), path, _read_library_module)
        for path in _walk(root, NOT_LIBRARY)
        if path.suffix == ".py"
    ]
    if not found:
        raise UserError(f"this interpreter keeps no source text in {root}: name a corpus of your own")
    return found


def _source_files(source: Path) -> list[_File]:
    if not source.exists():
        raise UserError(_missing(source))
    if not source.is_dir():
        suffix = source.suffix.lower()
        if suffix not in _READERS:
            raise UserError(f"unknown suffix {suffix!r} of corpus {source}{nearest(suffix, _READERS)}")
        if source.is_file() and not source.stat().st_size:
            raise UserError(f"corpus {source} is empty")
        return [_File(source.name, source, _READERS[suffix])]
    found = [
        _File(path.relative_to(source).as_posix(), path, _READERS[path.suffix.lower()])
        for path in _walk(source)
        if path.suffix.lower() in _READERS and path.stat().st_size
    ]
    if not found:
        raise UserError(f"corpus {source} holds no {', '.join(_READERS)} file with anything in it")
    return found


def _walk(root: Path, skip: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Regular files below `root`, without hidden ones and without folders named in `skip`."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in skip and not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file():
                yield path


def _missing(source: Path) -> str:
    """Names the first part of the path that is not there, and the name beside it that is most like it."""
    part = source
    while not part.parent.exists():
        part = part.parent
    beside = [path.name for path in part.parent.iterdir()] if part.parent.is_dir() else []
    close = get_close_matches(part.name, beside, n=1)
    hint = f"; did you mean {str(part.with_name(close[0]))!r}?" if close else ""
    return f"corpus {source} does not exist{hint}"


# Reading one file: each reader yields pieces of text, and ends every document with a newline


def _read_library_module(path: Path) -> Iterator[bytes]:
    """A module that cannot be read as text is no mistake of the person who runs us: it is left out."""
    try:
        yield b"".join(_read_text(path))
    except (UserError, OSError):
        return


def _read_text(path: Path) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as stream:
        piece = b"\n"
        while data := stream.read(PIECE):
            _check_text(data, decoder, str(path))
            yield (piece := data)
    _check_text(b"", decoder, str(path), final=True)
    if not piece.endswith(b"\n"):
        yield b"\n"


def _read_jsonl(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield _document(_json_text(line, f"{path} line {number}"), f"{path} line {number}")


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


def _read_parquet(path: Path) -> Iterator[bytes]:
    with pa.OSFile(str(path)) as stream:
        try:
            yield from _parquet_documents(pq.ParquetFile(stream, buffer_size=PIECE), path)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path} is not a sound Parquet file: {str(error).splitlines()[0]}") from error


def _parquet_documents(table: pq.ParquetFile, path: Path) -> Iterator[bytes]:
    name = _text_field(table.schema_arrow.names, str(path))
    kind = table.schema_arrow.field(name).type
    if not _is_text(kind.value_type if types.is_dictionary(kind) else kind):
        raise UserError(f"column {name!r} of {path} holds {kind}, not text")
    row = 0
    for batch in table.iter_batches(ROWS, columns=[name]):
        texts = batch.column(0)
        if types.is_dictionary(kind):
            texts = texts.dictionary_decode()
        # As binary, because Parquet does not promise that its strings are valid UTF-8.
        for text in texts.cast(pa.large_binary()).to_pylist():
            row += 1
            if text:
                yield _document(text, f"{path} row {row}")


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


_READERS: dict[str, Callable[[Path], Iterator[bytes]]] = {
    ".txt": _read_text,
    ".text": _read_text,
    ".md": _read_text,
    ".rst": _read_text,
    ".py": _read_text,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
}
