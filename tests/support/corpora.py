"""Files of a corpus, and what the loader says of them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from star.data.corpus import Corpus, load_corpus
from star.errors import UserError

ALL = 1 << 30


def load(*sources: object, limit: int = ALL) -> Corpus:
    return load_corpus(tuple(map(str, sources)), limit)


def refusal(*sources: object) -> str:
    with pytest.raises(UserError) as caught:
        load(*sources)
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
