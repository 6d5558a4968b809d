"""Kinds of text in Parquet, null, and encodings: what is read alike, what is skipped, and what is refused by name."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.corpora import load, put, refusal, text_of, write_rows

from star.data.encoding import find_wide_encoding

TEXTS = [f"document {i} says grüezi" for i in range(30)]


# Kinds of text in Parquet, and null


@pytest.mark.parametrize(
    "kind, coded",
    [
        *((kind, False) for kind in ("string_view", "binary_view", "large_string", "large_binary")),
        *((kind, True) for kind in ("string", "large_string", "large_binary")),  # pyarrow writes no coded views
    ],
)
def test_every_kind_of_text_in_parquet_reads_alike(tmp_path, kind, coded):
    plain = load(write_rows(tmp_path / "plain.parquet", pa.array(TEXTS)))
    texts = pa.array(TEXTS).cast(getattr(pa, kind)())
    if coded:
        texts = pa.DictionaryArray.from_arrays(pa.array(range(len(TEXTS)), pa.int32()), texts)
    path = write_rows(tmp_path / "other.parquet", texts)
    if not coded:
        assert str(pq.ParquetFile(path).schema_arrow.field(0).type) == kind
    assert load(path).digest == plain.digest


def test_null_is_skipped_and_counted_in_both_formats(tmp_path):
    texts = ["one", None, "two", None, None, "three"]
    rows = write_rows(tmp_path / "a.parquet", pa.array(texts))
    lines = tmp_path / "a.jsonl"
    lines.write_text("".join(f'{{"text": {f"{chr(34)}{text}{chr(34)}" if text else "null"}}}\n' for text in texts))
    for path in (rows, lines):
        corpus = load(path)
        assert text_of(corpus) == "one\nthree\ntwo\n"
        assert corpus.report.left_out == (("with null as text", 3),)
    lines.write_text(lines.read_text().replace('"text": "', '"text": "line '))
    both = load(tmp_path)
    assert (both.digest, both.report.left_out) == (load(rows, lines).digest, (("with null as text", 6),))


def test_nothing_but_null_is_no_corpus(tmp_path):
    path = write_rows(tmp_path / "a.parquet", pa.nulls(4))
    assert refusal(path) == f"corpus {path} is empty; left out: 4 with null as text"
    (tmp_path / "a.jsonl").write_text('{"text": null}\n')
    assert refusal(tmp_path / "a.jsonl") == f"corpus {tmp_path}/a.jsonl is empty; left out: 1 with null as text"


# Encodings


def test_a_mark_of_the_byte_order_is_no_text(tmp_path):
    mark = "\ufeff".encode()
    plain = load(write_rows(tmp_path / "plain.parquet", pa.array(["one", "two"])))
    marked = write_rows(tmp_path / "marked.parquet", pa.array(["\ufeffone", "\ufefftwo"]))
    lines = (
        put(tmp_path, "a.jsonl", content=mark + b'{"text": "one"}\n' + mark + b'{"text": "\\ufefftwo"}\n') / "a.jsonl"
    )
    assert load(marked).digest == load(lines).digest == plain.digest
    assert text_of(load(put(tmp_path, "a.txt", content=mark + b"one\xef\xbb\xbftwo\n") / "a.txt")) == "one\ufefftwo\n"
    for name in ("b.txt", "b.jsonl"):
        assert refusal(put(tmp_path, name, content=mark) / name) == f"corpus {tmp_path}/{name} is empty"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_wide_encodings_are_named(tmp_path, encoding, name):
    content = '{"text": "grüezi mitenand"}\n'.encode(encoding)
    path = put(tmp_path, name, content=content) / name
    assert refusal(path) == f"{path} is not text in UTF-8: it is {encoding[:6].upper()}; convert it to UTF-8"


def test_wide_encodings_with_a_mark_need_no_nul(tmp_path):
    for encoding in ("utf-16-le", "utf-16-be"):
        path = put(tmp_path, "a.txt", content="\ufeff你好世界".encode(encoding)) / "a.txt"
        assert "it is UTF-16;" in refusal(path)


@given(st.text(max_size=300))
def test_no_text_in_utf8_is_taken_for_a_wide_encoding(text):
    assert find_wide_encoding(text.replace("\0", "").encode()) == ""


@pytest.mark.parametrize(
    "content, is_latin",
    [("café au lait".encode("latin-1"), True), ("Größe".encode("cp1252"), True), (b"\x80\xff\x01\x02", False)],
)
def test_latin_1_is_suspected(tmp_path, content, is_latin):
    guess = ", perhaps Latin-1; convert it to UTF-8" if is_latin else ""
    path = put(tmp_path, "a.txt", content=content) / "a.txt"
    assert refusal(path) == f"{path} is not text: it is not valid UTF-8{guess}"
    lines = put(tmp_path, "a.jsonl", content=b'{"text": "' + content + b'"}') / "a.jsonl"
    assert refusal(lines) == f"{lines} line 1 is not text: it is not valid UTF-8{guess}"
    rows = write_rows(tmp_path / "a.parquet", pa.array([content]))
    assert refusal(rows) == f"{rows} row 1 is not text: it is not valid UTF-8{guess}"


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.parquet"])
def test_a_pointer_of_git_lfs_is_not_the_data(tmp_path, name):
    content = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    assert "pointer to it by Git LFS" in refusal(put(tmp_path, name, content=content) / name)
