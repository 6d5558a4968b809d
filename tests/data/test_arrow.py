"""Arrow files: IPC streams and IPC files, whatever wrote them; what is no Arrow, a sentence."""

import io

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.corpora import load, put, refusal, text_of, write_rows

from star.errors import UserError

TEXTS = [f"document {i} says grüezi" for i in range(57)]
WRITERS = {"stream": pa.ipc.new_stream, "file": pa.ipc.new_file}


def to_arrow(table: pa.Table, kind: str = "stream", rows: int = 10, **options) -> bytes:
    held = io.BytesIO()
    with WRITERS[kind](held, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return held.getvalue()


def write_arrow(path, texts: pa.Array, kind: str = "stream", **options):
    path.write_bytes(to_arrow(pa.table({"id": range(len(texts)), "text": texts}), kind, **options))
    return path


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_streams_and_files_are_the_same_corpus_as_parquet(tmp_path, kind, compression):
    plain = load(write_rows(tmp_path / "plain.parquet", pa.array(TEXTS)))
    path = write_arrow(tmp_path / "a.arrow", pa.array(TEXTS), kind, compression=compression)
    assert load(path).digest == plain.digest
    assert load(path, limit=200).train.size == 180


@pytest.mark.parametrize("compression", ["lz4", "uncompressed"])
def test_feather_is_read(tmp_path, compression):
    plain = load(write_rows(tmp_path / "plain.parquet", pa.array(TEXTS)))
    pyarrow.feather.write_feather(pa.table({"text": TEXTS}), tmp_path / "a.feather", compression=compression)
    pd.DataFrame({"id": range(len(TEXTS)), "text": TEXTS}).to_feather(tmp_path / "b.feather")
    assert load(tmp_path / "a.feather").digest == load(tmp_path / "b.feather").digest == plain.digest


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("of", ["string_view", "binary_view", "large_string", "large_binary", "binary"])
@pytest.mark.parametrize("coded", [False, True])
def test_every_kind_of_text_reads_alike(tmp_path, kind, of, coded):
    plain = load(write_rows(tmp_path / "plain.parquet", pa.array(TEXTS)))
    texts = pa.array(TEXTS).cast(getattr(pa, of)())
    if coded:
        texts = pa.DictionaryArray.from_arrays(pa.array(range(len(TEXTS)), pa.int8()), texts)
    assert load(write_arrow(tmp_path / "a.arrow", texts, kind)).digest == plain.digest


def test_null_is_skipped_and_counted(tmp_path):
    corpus = load(write_arrow(tmp_path / "a.arrow", pa.array(["one", None, "", "two"])))
    assert text_of(corpus) == "one\ntwo\n"
    assert corpus.report.left_out == (("with null as text", 1),)
    path = write_arrow(tmp_path / "a.arrow", pa.nulls(3))
    assert refusal(path) == f"corpus {path} is empty; left out: 3 with null as text"


def test_large_batches_are_read_whole(tmp_path):
    texts = [f"row {i}" for i in range(3000)]
    assert len(text_of(load(write_arrow(tmp_path / "a.arrow", pa.array(texts), rows=3000))).splitlines()) == 3000


def test_what_is_not_text_is_named(tmp_path):
    path = write_arrow(tmp_path / "a.arrow", pa.array([1, 2]))
    assert refusal(path) == f"column 'text' of {path} holds int64, not text"
    path.write_bytes(to_arrow(pa.table({"id": [1], "body": ["x"]})))
    assert refusal(path) == f"{path} has no 'text' or 'content'; it has 'id', 'body'"
    write_arrow(path, pa.array([b"fine", "café".encode("latin-1")]))
    assert refusal(path) == f"{path} row 2 is not text: it is not valid UTF-8, perhaps Latin-1; convert it to UTF-8"
    indices = put(tmp_path, "indices.arrow", content=to_arrow(pa.table({"indices": pa.array([1], pa.uint64())})))
    assert refusal(indices / "indices.arrow").endswith("has no 'text' or 'content'; it has 'indices'")


@pytest.mark.parametrize(
    "content", [b"a text\n" * 99, b"{}", b"ARROW1\0\0", b"ARROW1\0\0" + b"x" * 99, b"\xff" * 7 + b"\x7f" * 9]
)
@pytest.mark.parametrize("name", ["a.arrow", "a.feather"])
def test_what_is_no_arrow_is_named(tmp_path, name, content):
    path = put(tmp_path, name, content=content) / name
    assert refusal(path).startswith(f"{path} is not a sound Arrow file: ")


def test_a_pointer_of_git_lfs_is_not_the_data(tmp_path):
    content = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    assert "pointer to it by Git LFS" in refusal(put(tmp_path, "a.arrow", content=content) / "a.arrow")


@pytest.mark.parametrize("kind", WRITERS)
@given(data=st.data())
def test_a_damaged_file_is_read_or_is_a_sentence(tmp_path_factory, kind, data):
    """Offsets, lengths and indices are checked: what a file claims is not believed."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int8()), pa.array(["one", "two"]))
    chats = pa.array([[{"role": "user", "content": "hi"}], [], None])
    columns = {"text": texts} if data.draw(st.booleans()) else {"text": pa.array(["one", None, "three"])}
    columns = columns if data.draw(st.booleans()) else {"messages": chats}
    whole = bytearray(to_arrow(pa.table(columns), kind))
    if data.draw(st.booleans()):
        whole = whole[: data.draw(st.integers(1, len(whole)))]
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        whole[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.arrow"
    path.write_bytes(whole)
    try:
        load(path)
    except UserError as error:
        assert "\n" not in str(error)
