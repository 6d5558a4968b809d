"""What is read of a directory as people have it, what is left out, and what the run says of both."""

import gzip
import os
from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.corpora import load, put, refusal, text_of, write_rows
from support.tiny import CONFIG

from star.data import remote
from star.data.files import find_files
from star.data.report import CorpusReport
from star.run.evolve import evolve
from star.run.progress import Progress
from star.storage.run_directory import RunDirectory

CARDS = (
    "README.md",
    "readme.txt",
    "README_fr.md",
    "sub/ReadMe.rst",
    "LICENSE",
    "LICENCE.txt",
    "COPYING",
    "dataset_card.md",
)
TEXTS = [f"document {i} says grüezi" for i in range(30)]


# Cards, licences and kinds that are not read


def test_a_card_beside_data_is_left_out_and_counted(tmp_path):
    alone = load(write_rows(tmp_path / "data.parquet", pa.array(TEXTS)))
    put(tmp_path, *CARDS)
    cloned = load(tmp_path)
    assert cloned.digest == alone.digest
    assert dict(cloned.report.left_out) == {"README or licence": len(CARDS)}


def test_two_shards_with_a_card_are_one_to_train_on_and_one_to_validate_on(tmp_path):
    for i in range(2):
        put(tmp_path, f"shard{i}.txt", content=f"shard {i}\n".encode())
    before = load(tmp_path)
    put(tmp_path, "README.md", ".gitattributes", ".git/config", ".git/HEAD", "images/one.png")
    put(tmp_path, "empty.txt", content=b"")
    os.symlink("nowhere", tmp_path / "fetched.txt")
    after = load(tmp_path)
    assert (after.digest, after.report.train, after.report.valid) == (before.digest, (1, 8), (1, 8))
    assert before.report.left_out == ()
    assert Counter(dict(after.report.left_out)) == {
        "hidden": 2,
        "README or licence": 1,
        ".png (a kind that is not read)": 1,
        "empty": 1,
        "no regular file": 1,
    }


@pytest.mark.parametrize(
    "name", ["notes.md", "readmes.txt", "licenses.txt", "readme.py", "README.jsonl", "my readme.txt"]
)
def test_what_only_resembles_a_card_is_data(tmp_path, name):
    put(tmp_path, name, content=b'{"text": "one"}\n')
    put(tmp_path, "data.txt", content=b"two\n")
    assert find_files((str(tmp_path),))[1] == Counter()


def test_a_card_that_is_all_there_is_or_is_named_itself_is_read(tmp_path):
    put(tmp_path, "README.md", ".gitattributes")
    put(tmp_path, "LICENSE.txt", content=b"free\n")
    assert sorted(text_of(load(tmp_path)).splitlines()) == ["about the data", "free"]
    put(tmp_path, "data.txt", content=b"data\n")
    assert text_of(load(tmp_path)) == "data\n"
    assert text_of(load(tmp_path / "README.md")) == "about the data\n"


def test_a_card_beside_data_that_cannot_be_read_is_no_corpus(tmp_path):
    put(tmp_path, "README.md", "data/a.csv.zst", "data/b.CSV.ZST", "data/c.jsonl.zip", "data/d.csv", "data/e")
    sentence = refusal(tmp_path)
    head, rest = sentence.split("; left out: ")
    assert head.startswith(f"corpus {tmp_path} holds no .txt, ")
    assert set(rest.split(", ")) == {
        "2 .csv.zst (a kind that is not read)",
        "1 .jsonl.zip (a kind that is not read)",
        "1 .csv (a kind that is not read)",
        "1 without a suffix",
        "1 README or licence",
    }


def test_other_kinds_beside_data_are_told(tmp_path):
    put(tmp_path, "a.txt", content=b"data\n")
    put(tmp_path, "b.csv", "c.csv", "d.csv.gz", content=gzip.compress(b"x"))
    corpus = load(tmp_path)
    assert corpus.report.lines() == [
        "the corpus has 5 bytes of 1 file to train on and 0 bytes of 1 file to validate on",
        "left out of the corpus: 2 .csv (a kind that is not read), 1 .csv.gz (a kind that is not read)",
    ]


def test_sources_are_counted_together_and_each_keeps_its_own_cards(tmp_path):
    put(tmp_path / "a", "README.md")
    put(tmp_path / "b", "README.md", "b.csv")
    put(tmp_path / "b", "b.txt", content=b"data\n")
    corpus = load(tmp_path / "a", tmp_path / "b")
    assert corpus.report.train[0] + corpus.report.valid[0] == 2
    assert Counter(dict(corpus.report.left_out)) == {"README or licence": 1, ".csv (a kind that is not read)": 1}


@given(sizes=st.lists(st.integers(1, 40), min_size=2, max_size=25), limit=st.integers(1, 600))
def test_every_file_is_told_once(tmp_path_factory, sizes, limit):
    folder = tmp_path_factory.mktemp("files")
    for i, size in enumerate(sizes):
        put(folder, f"{i}.txt", content=b"x" * size + b"%d\n" % i)
    corpus = load(folder, limit=limit)
    report = corpus.report
    assert (report.train[1], report.valid[1]) == (corpus.train.size, corpus.valid.size)
    rest = sum(count for _, count in report.left_out)
    assert report.train[0] + report.valid[0] + rest == len(sizes)
    assert rest == 0 or corpus.train.size == limit - limit // 10 or corpus.valid.size == limit // 10


def test_the_run_says_what_it_trains_on(tmp_path):
    write_rows(tmp_path / "data/a.parquet", pa.array([*TEXTS * 20, None]))
    put(tmp_path / "data", "README.md")
    told = []

    class Listener(Progress):
        def noted(self, sentence: str) -> None:
            told.append(sentence)

    config = replace(CONFIG, corpus=(str(tmp_path / "data"),), generations=1)
    evolve(config, RunDirectory(tmp_path / "run"), Listener())
    assert told[-1] == "left out of the corpus: 1 README or licence, 1 with null as text"
    assert told[-2].startswith("the corpus has ") and told[-2].endswith(" bytes of 1 file to validate on")


def test_a_corpus_of_nothing_to_tell_has_one_line():
    assert CorpusReport((1, 1000), (2, 3)).lines() == [
        "the corpus has 1,000 bytes of 1 file to train on and 3 bytes of 2 files to validate on"
    ]


# Names


@pytest.mark.parametrize("place", ["caf\udce9.txt", "caf\udce9/a.txt"])
def test_names_that_are_not_utf8_are_a_sentence(tmp_path, place):
    put(tmp_path, "good.txt")
    put(tmp_path, place, content=b"good, too\n")
    escaped = place.replace("\udce9", "\\xe9")
    near = escaped.split("/")[0]
    assert load(tmp_path).report.left_out == (), "a directory may hold them"
    put(tmp_path, place, content=b"\0")
    assert refusal(tmp_path) == f"{tmp_path}/{escaped} is not text: it holds a NUL byte"
    named = tmp_path / place
    assert refusal(named) == f"the name of the corpus is not UTF-8: {tmp_path}/{escaped}; rename it"
    hint = f"; did you mean {str(tmp_path / near)!r}?"
    assert refusal(tmp_path / near.replace("\\xe9", "e")).endswith(hint)
    assert "cannot read" in refusal(f"file://{tmp_path}/caf%E9")


def test_names_that_are_not_utf8_do_not_matter_where_nothing_is_read(tmp_path):
    put(tmp_path, "good.txt", "caf\udce9.csv", "table.caf\udce9", ".caf\udce9")
    assert Counter(dict(load(tmp_path).report.left_out)) == {
        ".csv (a kind that is not read)": 1,
        ".caf\\xe9 (a kind that is not read)": 1,
        "hidden": 1,
    }


def test_a_folder_that_may_not_be_listed_is_told(tmp_path, monkeypatch):
    put(tmp_path, "a.txt", "closed/b.txt")
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert dict(load(tmp_path).report.left_out) == {"unreadable as a folder": 1}


def test_a_listing_from_afar_is_sorted_out_alike(tmp_path, monkeypatch):
    put(tmp_path, "a.txt", "README.md", ".git/x", ".git/y", "b/.z/w.txt", "d.csv")
    put(tmp_path, "b/c.txt", content=b"data\n")
    put(tmp_path, "e.txt", content=b"")
    here = load(tmp_path)
    system, path = pa.fs.FileSystem.from_uri(tmp_path.as_uri())
    afar = remote.Source("s3://x", "s3", path, system, system.get_file_info(path))
    monkeypatch.setattr(remote, "find", lambda uri: afar)
    there = load("s3://x")
    assert (there.digest, there.report.train, there.report.valid) == (here.digest, here.report.train, here.report.valid)
    assert Counter(dict(there.report.left_out)) == Counter(dict(here.report.left_out))
    assert there.report.left_out
