"""Sources with weights: how they are written, what each contributes, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.corpora import load, put, refusal, to_lines
from support.s3 import serving
from support.tiny import CONFIG, invent

from star.cli.sources import absolute_sources
from star.data.sources import Source, called, read_sources, split_list
from star.errors import UserError
from star.run.evolve import evolve, resume
from star.run.settings import from_toml
from star.storage.run_directory import RunDirectory


def nothing(name: str) -> bool:
    return False


def write_sources(folder: Path) -> tuple[Path, Path]:
    """Twelve files, and a file of forty documents."""
    for i in range(12):
        put(folder / "books", f"{i}.txt", content=f"book {i} ".encode() * 40)
    put(folder, "web.jsonl", content=to_lines([f"page {i} " * 9 for i in range(40)]))
    return folder / "books", folder / "web.jsonl"


# How they are written


@pytest.mark.parametrize(
    "text, expected",
    [
        ("books/=2,web/=1", [("books/", 2), ("web/", 1)]),
        ("books/=2, web/=1e-3", [("books/", 2), ("web/", 1e-3)]),
        ("stdlib=0.5,prose=1", [("stdlib", 0.5), ("prose", 1)]),
        ("a,b/=2,c=1", [("a,b/", 2), ("c", 1)]),
        ("a=b=2", [("a=b", 2)]),
        ("a,b", [("a,b", None)]),
        ("a=b.txt", [("a=b.txt", None)]),
        ("s3://bucket/x", [("s3://bucket/x", None)]),
        ("s3://bucket/x=2", [("s3://bucket/x", 2)]),
        ("s3://bucket/x?endpoint_override=127.0.0.1:9000&scheme=http", None),
        ("s3://bucket/x?connect_timeout=3", None),
        ("s3://bucket/x?scheme=http&connect_timeout=3", None),
        ("s3://bucket/x?scheme=http=2,web/=1", [("s3://bucket/x?scheme=http", 2), ("web/", 1)]),
        ("s3://bucket/x?retries=3=0.5", [("s3://bucket/x?retries=3", 0.5)]),
    ],
)
def test_weights_are_read(text, expected):
    assert read_sources((text,), nothing) == tuple(Source(*one) for one in expected or [(text, None)])


def test_several_options_are_one_list():
    assert read_sources(("a=1", "b=2,c=3"), nothing) == (Source("a", 1), Source("b", 2), Source("c", 3))


def test_what_exists_is_a_path():
    there = {"year=2020", "a=1,b=2", "x,y=3"}
    assert read_sources(("year=2020", "a=1,b=2", "x,y=3"), there.__contains__) == tuple(
        Source(name) for name in ("year=2020", "a=1,b=2", "x,y=3")
    )
    assert read_sources(("year=2020=3",), there.__contains__) == (Source("year=2020", 3),)


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf", "-inf", "0.0"])
def test_a_weight_is_a_positive_number(tmp_path, weight):
    books, _ = write_sources(tmp_path)
    assert refusal(f"{books}={weight}") == f"weight {weight} of {books} must be a positive number"


def test_a_weight_that_is_no_number(tmp_path):
    books, _ = write_sources(tmp_path)
    assert refusal(f"{books}=two") == f"weight 'two' of {books} is not a number"
    assert refusal("prose=x") == "weight 'x' of prose is not a number"
    assert refusal(f"{tmp_path}/nowhere=x").startswith(f"corpus {tmp_path}/nowhere=x does not exist")
    assert refusal("=2") == "weight 2 of no source must be a positive number"


def test_sentences_keep_secrets():
    secret = "s3://KEY:SECRET@b/x?session=SECRET"
    for sources in ((f"{secret}=nan",), (f"{secret}=2", f"{secret}&a=b")):
        with pytest.raises(UserError, match="s3://KEY@b/x ") as caught:
            read_sources(sources, nothing)
        assert "SECRET" not in str(caught.value)


def test_all_sources_have_weights_or_none(tmp_path):
    books, web = write_sources(tmp_path)
    assert refusal(f"{books}=2", web) == f"give every source of the corpus a weight, or none: {web} has none"


NAMES = st.text(st.sampled_from("ab,=/. "), min_size=1, max_size=8).map(lambda name: f"x{name}x")


@given(st.lists(st.tuples(NAMES, st.floats(1e-9, 1e9)), min_size=1, max_size=4))
def test_a_list_reads_as_it_was_written(sources):
    text = ",".join(f"{name}={weight!r}" for name, weight in sources)
    assert read_sources((text,), nothing) == tuple(Source(*one) for one in sources)
    assert read_sources(split_list(text, nothing), nothing) == tuple(Source(*one) for one in sources)


def test_the_command_line_makes_each_path_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "year=2020/a.txt")
    given = ["books/=2,stdlib=1", "s3://b/x?scheme=http=3", "year=2020"]
    expected = (f"{tmp_path}/books/=2", "stdlib=1", "s3://b/x?scheme=http=3", f"{tmp_path}/year=2020")
    assert absolute_sources(given) == expected
    assert absolute_sources(expected) == expected


def test_messages_name_a_uri_with_its_weight_and_without_its_query():
    assert called("s3://KEY:SECRET@b/x?scheme=http=3") == "s3://KEY@b/x=3"
    assert called("s3://KEY:SECRET@b/x?timeout=3") == "s3://KEY@b/x"
    assert called("s3://b/x=2") == "s3://b/x=2"


# What they contribute


def test_each_part_is_the_corpus_of_its_source(tmp_path):
    books, web = write_sources(tmp_path)
    corpus = load(f"{books}=2,{web}=1")
    assert [(part.name, part.weight) for part in corpus.parts] == [(str(books), 2), (str(web), 1)]
    for part, source in zip(corpus.parts, (books, web), strict=True):
        alone = load(source)
        assert np.array_equal(corpus.train[part.train.start : part.train.stop], alone.train)
        assert np.array_equal(corpus.valid[part.valid.start : part.valid.stop], alone.valid)
    assert [len(part.train) for part in corpus.parts][0] == corpus.parts[1].train.start
    assert corpus.parts[1].train.stop == corpus.train.size and corpus.parts[1].valid.stop == corpus.valid.size
    assert load(f"{books}=2", f"{web}=1").digest == corpus.digest


def test_the_limit_is_shared_by_weight(tmp_path):
    books, web = write_sources(tmp_path)
    corpus = load(f"{books}=3", f"{web}=1", limit=2000)
    assert [(len(part.train), len(part.valid)) for part in corpus.parts] == [(1350, 150), (450, 50)]


def test_the_digest_holds_the_weights(tmp_path):
    books, web = write_sources(tmp_path)
    digests = [load(f"{books}={one}", f"{web}={other}").digest for one, other in ((2, 1), (2, 2), (1, 2), (2, 1.5))]
    assert len({*digests, load(books, web).digest}) == 5
    assert load(f"{books}=1").digest != load(books).digest


def test_without_weights_there_are_no_parts(tmp_path):
    books, web = write_sources(tmp_path)
    assert load(books, web).parts == load(books, web).train_parts == ()


def test_a_file_belongs_to_the_first_source_that_names_it(tmp_path):
    books, _ = write_sources(tmp_path)
    first, *_ = sorted(books.iterdir())
    corpus = load(f"{first}=1", f"{books}=1")
    assert load(first).train.size == len(corpus.parts[0].train)
    assert corpus.train.size + corpus.valid.size == load(books).train.size + load(books).valid.size
    assert refusal(f"{books}=1", f"{first}=1") == f"corpus {first} holds no file that no other source holds"


def test_a_document_of_one_source_is_not_validated_on_in_another(tmp_path):
    put(tmp_path / "a", "x.jsonl", content=to_lines([f"text {i}" for i in range(20)]))
    put(tmp_path / "b", "y.jsonl", content=to_lines(["b", "text 5", *"cdefghij", "k", "fresh"]))
    corpus = load(f"{tmp_path / 'b'}=1", f"{tmp_path / 'a'}=1")
    assert corpus.valid[: len(corpus.parts[0].valid)].tobytes() == b"fresh\n"


def test_weights_of_buckets(tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "anyone")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with serving() as server:
        server.buckets["corpora"] |= {"year=2020/a.txt": b"old text\n" * 9, "new/a.txt": b"new text\n" * 99}
        year, new = server.uri("corpora/year=2020"), server.uri("corpora/new")
        assert load(new).parts == load(year).parts == ()
        corpus = load(f"{year}=3,{new}=1")
        assert [(part.name, part.weight) for part in corpus.parts] == [
            ("s3://corpora/year=2020", 3),
            ("s3://corpora/new", 1),
        ]
        assert corpus.name == "s3://corpora/year=2020=3, s3://corpora/new=1"


# In a run


def test_a_run_on_weighted_sources_goes_on_with_the_same_weights_alone(tmp_path):
    books, web = write_sources(tmp_path)
    config = replace(CONFIG, corpus=(f"{books}=2", f"{web}=1"), generations=0)
    run = RunDirectory(tmp_path / "run")
    evolve(config, run)
    assert from_toml(run.config_toml).corpus == (f"{books}=2", f"{web}=1")
    with pytest.raises(UserError, match="the corpus is not the one that this run began with"):
        resume(run, 1, places={"corpus": (f"{books}=1", f"{web}=1")}, evaluate=invent)
    assert resume(run, 1).generation == 1


def test_a_part_that_holds_no_window_is_named(tmp_path):
    books, _ = write_sources(tmp_path)
    short = put(tmp_path, "short.txt", content=b"short\n") / "short.txt"
    config = replace(CONFIG, corpus=(f"{books}=2", f"{short}=1"), generations=0)
    with pytest.raises(UserError) as caught:
        evolve(config, RunDirectory(tmp_path / "run"))
    assert str(caught.value) == (
        f"corpus part {short} is too short: a window takes 17 tokens, and it has 6 for training and 0 for validation"
    )
