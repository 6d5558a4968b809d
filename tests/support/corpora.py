"""Files of a corpus, and what the loader says of them."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from star.data.corpus import Corpus, load_corpus
from star.errors import UserError

ALL = 1 << 30


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    ".bz2": bz2.compress,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}


def load(*sources: object, limit: int = ALL, field: str = "") -> Corpus:
    return load_corpus(tuple(map(str, sources)), limit, field)


def refusal(*sources: object, field: str = "") -> str:
    with pytest.raises(UserError) as caught:
        load(*sources, field=field)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()  # may be printed
    return str(caught.value)


def text_of(corpus: Corpus) -> str:
    return (corpus.train.tobytes() + corpus.valid.tobytes()).decode()


def put(folder: Path, *names: str, content: bytes = b"about the data\n") -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_rows(path: Path, texts: pa.Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": texts}), path)
    return path


def compress(suffix: str, frames: Iterable[bytes]) -> bytes:
    """Each frame compressed by itself, one after the other, as `cat` and parallel compressors join them."""
    return b"".join(map(COMPRESSORS[suffix], frames))


def to_lines(texts: Sequence[str], field: str = "text") -> bytes:
    return "".join(json.dumps({"id": i, field: text}) + "\n" for i, text in enumerate(texts)).encode()
