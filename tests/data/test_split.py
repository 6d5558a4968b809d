"""The streams of both sides: what was written is read, in pieces that tell where documents end, in little memory."""

import gzip
import io
import json
import re
import subprocess
import sys
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from support.corpora import COMPRESSORS, compress, load, put, to_lines
from support.paths import ROOT
from support.saved import save_splits

from star.data import readers
from star.data.pieces import Piece, skip, take
from star.data.split import Split, open_split

# Texts full of what is changed: marks, CR in all places, ends of every kind.
WORDS = ["\r", "\n", "\r\n", "\ufeff", "a", "word ", "grüezi", "☃", "𝄞"]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map("".join)


def normal(text: str) -> str:
    """What a document becomes, on the whole text with regular expressions."""
    text = re.sub("\r\\Z", "\n", re.sub("\r\n", "\n", re.sub("\\A\ufeff", "", text)))
    return re.sub("\n?\\Z", "\n", text, count=1)


def documents_of(pieces) -> list[str]:
    held, found = b"", []
    for piece in pieces:
        held += piece.text
        if piece.ends:
            found.append(held.decode())
            held = b""
    assert not held, "every document ends"
    return found


def split_of(*sources: object, **options) -> Split:
    return open_split(tuple(map(str, sources)), **options)


# What is read is what was written


@given(
    texts=st.lists(TEXTS, min_size=2, max_size=25, unique_by=normal),
    piece=st.integers(1, 40),
    suffix=st.sampled_from(["", *COMPRESSORS]),
    cuts=st.lists(st.floats(0, 1), max_size=4),
)
def test_lines_are_read_as_written(tmp_path_factory, texts, piece, suffix, cuts):
    path = tmp_path_factory.getbasetemp() / f"lines.jsonl{suffix}"
    content = to_lines(texts)
    path.write_bytes(_pack(content, suffix, cuts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "PIECE", piece)
        split = split_of(path)
        train, valid = documents_of(split.train()), documents_of(split.valid())
    assert train == [normal(text) for i, text in enumerate(texts) if i % 10 != 1]
    assert valid == [normal(text) for i, text in enumerate(texts) if i % 10 == 1]


@given(
    texts=st.lists(TEXTS, min_size=2, max_size=12, unique_by=normal),
    piece=st.integers(1, 40),
    suffix=st.sampled_from(["", *COMPRESSORS]),
    cuts=st.lists(st.floats(0, 1), max_size=4),
)
def test_files_are_read_as_written(tmp_path_factory, texts, piece, suffix, cuts):
    folder = tmp_path_factory.mktemp("files")
    for i, text in enumerate(texts):
        put(folder, f"{i}.txt{suffix}", content=_pack(text.encode(), suffix, cuts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "PIECE", piece)
        split = split_of(folder)
        train, valid = documents_of(split.train()), documents_of(split.valid())
    kept = [normal(text) for text in texts if text != "\ufeff"]  # a mark alone is no document
    assert sorted(train + valid) == sorted(kept)
    assert len(valid) in (1, 1 - ("\ufeff" in texts))


@given(text=TEXTS.filter(lambda text: len(text) > 3), repeat=st.integers(5, 40), piece=st.integers(1, 40))
def test_one_text_is_read_as_written(tmp_path_factory, text, repeat, piece):
    folder = tmp_path_factory.getbasetemp()
    path = put(folder, "one.txt", content=(text * repeat).encode()) / "one.txt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "PIECE", piece)
        split = split_of(path)
        train, valid = list(split.train()), list(split.valid())
    whole = normal(text * repeat).encode()
    place = len(whole) - len(whole) // 10
    assert b"".join(piece.text for piece in train) == whole[:place]
    assert b"".join(piece.text for piece in valid) == whole[place:]
    assert [piece.ends for piece in train + valid].count(True) == 1 and valid[-1].ends


def _pack(content: bytes, suffix: str, cuts: list[float]) -> bytes:
    """Compressed in frames that end anywhere."""
    if not suffix:
        return content
    places = [0, *sorted(int(cut * len(content)) for cut in cuts), len(content)]
    return compress(suffix, [content[a:b] for a, b in zip(places, places[1:], strict=False)])


def test_line_ends_are_alike_in_every_format(tmp_path):
    texts = [f"first {i}\r\nsecond\rthird\r\n{i}\r" for i in range(11)]
    expected = [f"first {i}\nsecond\rthird\n{i}\n" for i in range(11)]
    held = io.BytesIO()
    table = pa.table({"text": texts})
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_stream(held, table.schema) as writer:
        writer.write_table(table)
    put(tmp_path, "a.arrow", content=held.getvalue())
    put(tmp_path, "a.jsonl", content=to_lines(texts))
    save_splits(tmp_path / "saved", train=texts, validation=["x"])
    for name in ("a.parquet", "a.arrow", "a.jsonl"):
        split = split_of(tmp_path / name)
        assert documents_of(split.train()) == [expected[0], *expected[2:]]
        assert documents_of(split.valid()) == [expected[1]]
    assert documents_of(split_of(tmp_path / "saved").train()) == expected


# The streams


def test_the_corpus_is_the_beginning_of_the_split(tmp_path):
    for i in range(12):
        put(tmp_path, f"{i}.jsonl", content=to_lines([f"file {i} row {j}" for j in range(20)]))
    for limit in (1, 100, 1000, 1 << 30):
        split, corpus = split_of(tmp_path, limit=limit), load(tmp_path, limit=limit)
        assert b"".join(piece.text for piece in split.train()) == corpus.train.tobytes()
        assert b"".join(piece.text for piece in split.valid()) == corpus.valid.tobytes()
        assert split.report() == corpus.report


def test_what_was_read_is_told_while_it_is_read(tmp_path):
    texts = [*(f"text {i}" for i in range(10)), "text 0"]
    rows = [{"text": text} for text in texts] + [{"text": None}] + [{"text": "text 0"}] * 10
    path = put(tmp_path, "a.jsonl", content="".join(json.dumps(row) + "\n" for row in rows).encode()) / "a.jsonl"
    split = split_of(path)
    stream = split.train()
    assert split.report().train == (0, 0)
    assert next(stream) == Piece(b"text 0\n", True)
    assert (split.report().train, split.report().documents) == ((1, 7), 1)
    list(stream)
    report = split.report()
    assert (report.train, report.documents, report.duplicates) == ((1, 19 * 7), 19, 10)
    list(split.valid())
    assert split.report().valid == (1, 7)
    assert dict(split.report().left_out) == {"with null as text": 1, "for validation that are trained on too": 1}


def test_pieces_tell_their_part(tmp_path):
    for name in "ab":
        put(tmp_path / name, "x.jsonl", content=to_lines([f"{name} {i}" for i in range(20)]))
    split = split_of(f"{tmp_path}/a=1,{tmp_path}/b=3")
    assert [(one.name, one.weight) for one in split.sections] == [(f"{tmp_path}/a", 1), (f"{tmp_path}/b", 3)]
    for side in (split.train(), split.valid()):
        found = [(piece.text[:1], piece.part) for piece in side]
        assert found == sorted(found) and set(found) == {(b"a", 0), (b"b", 1)}


def test_an_unreadable_file_is_named_in_the_stream(tmp_path):
    for i in range(3):
        put(tmp_path, f"{i}.txt", content=b"text %d\n" % i)
    split = split_of(tmp_path)
    for i in range(3):
        (tmp_path / f"{i}.txt").unlink()
    with pytest.raises(ValueError, match=f"cannot read {tmp_path}/[012].txt: No such file or directory"):
        list(split.train())


PIECES = st.lists(st.builds(Piece, st.binary(max_size=5), st.booleans()), max_size=8)


@given(pieces=PIECES, place=st.integers(0, 30))
def test_taking_and_skipping_are_slices(pieces, place):
    whole = b"".join(piece.text for piece in pieces)
    taken, rest = list(take(pieces, place)), list(skip(pieces, place))
    assert b"".join(piece.text for piece in taken) == whole[:place]
    assert b"".join(piece.text for piece in rest) == whole[place:]
    assert sum(piece.ends for piece in rest) <= sum(piece.ends for piece in pieces)


def test_taking_asks_for_no_more_pieces_than_it_needs():
    def pieces():
        yield Piece(b"abc", True)
        yield Piece(b"def", True)
        raise AssertionError("one too many")

    assert list(take(pieces(), 6)) == [Piece(b"abc", True), Piece(b"def", True)]
    assert list(take(pieces(), 4)) == [Piece(b"abc", True), Piece(b"d", False)]


# Memory


MEASURE = """
import resource, sys
from star.data.split import open_split
from star.errors import UserError

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

before, sizes = peak(), []
try:
    split = open_split((sys.argv[1],))
    sizes = [sum(len(piece.text) for piece in side) for side in (split.train(), split.valid())]
except UserError as error:
    print(error, file=sys.stderr)
print(peak() - before, *sizes)
"""


def measure(path) -> tuple[list[int], str]:
    """Growth of the peak memory and bytes of both sides of a corpus that another process reads, and what it says."""
    command = [sys.executable, "-c", MEASURE, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [int(number) for number in done.stdout.split()], done.stderr


@pytest.mark.parametrize("name", ["a.txt.zst", pytest.param("a.jsonl.gz", marks=pytest.mark.slow)])
def test_a_corpus_of_200_megabytes_takes_a_few(tmp_path, name):
    path = tmp_path / name
    compressor = {".gz": partial(gzip.compress, compresslevel=1), ".zst": zstandard.compress}[path.suffix]
    line = "some words of a document, and more of them; " * 40
    with path.open("wb") as stream:
        for block in range(100):
            texts = [f"{block} {i} {line}" for i in range(1100)]
            content = to_lines(texts) if "json" in name else "".join(f"{text}\n" for text in texts).encode()
            stream.write(compressor(content))
    (growth, *sizes), _ = measure(path)
    assert sum(sizes) > 190e6 and sizes[1] > 18e6
    assert growth < 40e6


@pytest.mark.slow
def test_a_line_without_end_takes_no_more_than_the_limit_allows(tmp_path):
    path = tmp_path / "bomb.jsonl.zst"
    path.write_bytes(compress(".zst", [b'{"text": "'] + [b"a" * (64 << 20)] * 64))
    (growth,), said = measure(path)
    assert said == f"{path} line 1 is longer than 256 MiB, the limit of one document\n"
    assert growth < 3 * (256 << 20)
