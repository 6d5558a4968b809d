"""Documents are those that are trained on, token for token, with the bytes that they stand for."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.measured import PAIRS, TEXTS, export_small

from star.data import token_files
from star.data.pieces import Piece
from star.data.split import open_split
from star.data.text_source import TextSource
from star.data.token_files import build_corpus
from star.data.tokenizer import Bytes
from star.errors import UserError
from star.metrics.documents import Reading, choose_source, read_documents, start_token, tokenise
from star.metrics.trained_model import read_model

ALL_TOKENS = 10**9


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    return {one.name: read_model(export_small(place / one.name.replace(":", ""), one)) for one in (Bytes(), PAIRS)}


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "text.jsonl"
    path.write_text("".join(json.dumps({"text": one}) + "\n" for one in TEXTS))
    return TextSource(sources=(str(path),))


@pytest.mark.parametrize("name", ["bytes", "bpe:300"])
@pytest.mark.parametrize("side", ["validation", "all"])
def test_documents_are_the_tokens_that_are_trained_on(models, corpus, tmp_path, monkeypatch, name, side):
    """Those of the files of tokens, also where documents are cut into chunks."""
    monkeypatch.setattr(token_files, "CHUNK", 40)
    trained = models[name]
    built = build_corpus(open_split(corpus.sources), trained.tokenizer, tmp_path / "tokens")
    sides = (built.train, built.valid) if side == "all" else (built.valid,)
    found = list(read_documents(Reading(source=corpus, side=side, tokens=ALL_TOKENS), trained))
    assert np.concatenate([one.tokens for one in found]).tolist() == np.concatenate(sides).tolist()
    order = [i for i in range(60) if i % 10 != 1] * (side == "all") + [i for i in range(60) if i % 10 == 1]
    assert [one.num_bytes for one in found] == [len(TEXTS[i].encode()) for i in order]
    texts = [trained.tokenizer.decode(one.tokens) for one in found]
    assert texts == [TEXTS[i] for i in order]


@pytest.mark.parametrize("side", ["validation", "all"])
def test_a_folder_of_tokens_has_the_same_documents(models, corpus, tmp_path, side):
    trained, folder = models["bpe:300"], tmp_path / "tokens"
    build_corpus(open_split(corpus.sources), trained.tokenizer, folder)
    expected = list(read_documents(Reading(source=corpus, side=side, tokens=ALL_TOKENS), trained))
    reading = Reading(source=TextSource(sources=(str(folder),)), side=side, tokens=ALL_TOKENS)
    found = list(read_documents(reading, trained))
    assert [one.tokens.tolist() for one in found] == [one.tokens.tolist() for one in expected]
    if side == "validation":
        assert sum(one.num_bytes for one in found) == pytest.approx(sum(one.num_bytes for one in expected))
    few = list(read_documents(replace(reading, tokens=50), trained))
    assert sum(one.tokens.size for one in few) == 50 and few[0].tokens.tolist() == found[0].tokens.tolist()
    with pytest.raises(UserError, match="was built by tokenizer bpe:300, and the model has another, bytes"):
        list(read_documents(reading, models["bytes"]))


def test_bytes_without_ends_are_one_document(models, corpus, tmp_path):
    built = build_corpus(open_split(corpus.sources), Bytes(), tmp_path / "tokens")
    reading = Reading(source=TextSource(sources=(str(tmp_path / "tokens"),)), side="validation", tokens=ALL_TOKENS)
    (found,) = read_documents(reading, models["bytes"])
    assert found.tokens.tolist() == built.valid.tolist() and found.num_bytes == built.valid.size


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=6), st.integers(1, 60))
def test_a_limit_cuts_the_text_and_counts_its_bytes(texts, limit):
    """Of bytes exactly, but for the rest of a character; of any tokenizer the bytes are those of the text."""
    pieces = [Piece(f"{text}\n".encode(), True) for text in texts]
    whole = "".join(f"{text}\n" for text in texts)
    for tokenizer in (Bytes(), PAIRS):
        found = list(tokenise(pieces, tokenizer, limit))
        text = "".join(tokenizer.decode(one.tokens) for one in found)
        assert whole.startswith(text) and sum(one.num_bytes for one in found) == len(text.encode())
        if sum(one.size for one in tokenizer.encode(texts)) + 2 * len(texts) <= limit:
            assert text == whole
        assert all(one.tokens.size for one in found) and len(found) <= len(texts)
        if tokenizer.name == "bytes":
            size = sum(one.tokens.size for one in found)
            assert min(limit, len(whole.encode())) - 4 < size < limit + 4
    assert len(list(tokenise(pieces, Bytes(), ALL_TOKENS))) == len(texts)


def test_reading_stops_at_the_limit():
    def endless():
        for number in range(10**6):
            assert number < 30
            yield Piece(b"ten bytes\n", True)

    assert sum(one.tokens.size for one in tokenise(endless(), Bytes(), 205)) == 205


def test_what_was_trained_on_is_not_measured(models, tmp_path):
    """A document for validation that is a copy of one to train on is left out of the model's own corpus alone."""
    path = tmp_path / "text.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("a", "b", *"cdefghij", "k", "a", "l")))
    own = TextSource(sources=(str(path),), limit=1 << 20)
    trained = replace(models["bytes"], source=own)
    other = TextSource(sources=(str(path),))
    for source, expected in ((own, ["b\n"]), (other, ["b\n", "a\n"])):
        found = read_documents(Reading(source=source, side="validation", tokens=ALL_TOKENS), trained)
        assert [Bytes().decode(one.tokens) for one in found] == expected
    assert choose_source(trained, (), "") is own and choose_source(trained, own.sources, "") is own
    assert choose_source(trained, own.sources, "body") == TextSource(sources=own.sources, text_field="body")
    assert choose_source(models["bytes"], (), "").sources == ("stdlib",)


def test_a_document_begins_after_the_end_of_another():
    assert start_token(PAIRS) == PAIRS.end
    assert start_token(Bytes()) == ord("\n")


def test_sources_with_weights_have_their_share_of_the_tokens(models, tmp_path):
    for name in "ab":
        rows = (json.dumps({"text": f"{name} {n:04}"}) for n in range(2_000))
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
    sources = (f"{tmp_path / 'a.jsonl'}=3", f"{tmp_path / 'b.jsonl'}=1")
    build_corpus(open_split(sources), PAIRS, tmp_path / "tokens")
    for source in (TextSource(sources=sources), TextSource(sources=(str(tmp_path / "tokens"),))):
        for side in ("validation", "all"):
            found = list(read_documents(Reading(source=source, side=side, tokens=400), models["bpe:300"]))
            sizes = dict.fromkeys("ab", 0)
            for one in found:
                sizes[PAIRS.decode(one.tokens)[0]] += one.tokens.size
            assert abs(sizes["a"] - 300) < 8 and abs(sizes["b"] - 100) < 8
            assert sum(one.num_bytes for one in found) == pytest.approx(7 * len(found), rel=0.05)
