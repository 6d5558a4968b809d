"""Corpora as files of tokens against a naive program that reads and encodes all at once; damaged and foreign files."""

import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.tiny import TINY
from torch import nn

from star.data import token_files
from star.data.corpus import load_corpus
from star.data.pieces import Piece
from star.data.prepare import build, prepare
from star.data.split import open_split
from star.data.text_source import TextSource, is_built
from star.data.token_files import open_corpus, tokenizer_of, write_tokens
from star.data.tokenizer import Bytes, train_tokenizer
from star.errors import UserError
from star.training.loss import measure, measure_windows

LINES = [f"{n} times {n} is {n * n}. Straße {chr(0x4E00 + n)}\n" for n in range(600)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("texts")
    for i in range(20):
        (place / f"{i}.txt").write_text("".join(LINES[30 * i : 30 * i + 30]))
    return place


@pytest.fixture(scope="module")
def source(folder):
    return TextSource(sources=(str(folder),), tokenizer="bpe:400")


def documents(sources, side):
    texts, held = [], b""
    for piece in getattr(open_split(sources), side)():
        held += piece.text
        if piece.ends:
            texts.append(held.decode())
            held = b""
    return texts


def test_tokens_are_those_of_each_document_and_its_end(tmp_path, source):
    corpus = build(source, tmp_path / "built")
    tokenizer = tokenizer_of(tmp_path / "built")
    split = open_split(source.sources)
    list(split.train())
    for side, found in (("train", corpus.train), ("valid", corpus.valid)):
        expected = [
            token for text in documents(source.sources, side) for token in [*tokenizer.encode([text])[0], tokenizer.end]
        ]
        assert found.tolist() == expected
    assert corpus.train.dtype == np.uint16 and (corpus.vocab_size, corpus.tokenizer) == (400, "bpe:400")
    size = sum(len(text.encode()) for text in documents(source.sources, "valid"))
    assert corpus.bytes_per_token == size / corpus.valid.size
    assert corpus.report.train[0] + corpus.report.valid[0] == 20


def test_a_tokenizer_is_trained_on_the_text_for_training_alone(tmp_path, source):
    build(source, tmp_path / "built")
    assert (
        tokenizer_of(tmp_path / "built").digest == train_tokenizer("bpe:400", documents(source.sources, "train")).digest
    )


def test_bytes_are_those_of_the_text(tmp_path, folder):
    built = build(TextSource(sources=(str(folder),)), tmp_path / "built")
    held = load_corpus((str(folder),), 1 << 25)
    np.testing.assert_array_equal(built.train, held.train)
    np.testing.assert_array_equal(built.valid, held.valid)
    assert built.bytes_per_token == 1 and built.vocab_size == 256


def test_tokens_do_not_depend_on_how_the_text_was_read(tmp_path, monkeypatch):
    """Documents in pieces of any size, cut anywhere, and longer than what is encoded at once."""
    monkeypatch.setattr(token_files, "CHUNK", 200)
    monkeypatch.setattr(token_files, "BATCH", 500)
    tokenizer, rng = train_tokenizer("bpe:400", LINES), random.Random(0)
    texts = [b"x" * 1000, "ß".encode() * 300, "".join(LINES[:40]).encode(), b"", b"a b " * 200]
    found = set()
    for _ in range(20):
        pieces = []
        for text in texts:
            cuts = sorted({0, len(text), *(rng.randrange(len(text) + 1) for _ in range(rng.randrange(6)))})
            parts = [text[a:b] for a, b in zip(cuts, cuts[1:], strict=False)] or [b""]
            pieces += [Piece(part, i == len(parts) - 1) for i, part in enumerate(parts)]
        write_tokens(tmp_path / "t.bin", pieces, tokenizer)
        found.add((tmp_path / "t.bin").read_bytes())
    assert len(found) == 1
    tokens = np.frombuffer(found.pop(), np.uint16)
    assert tokenizer.decode(tokens) == b"".join(texts).decode()
    assert (tokens == tokenizer.end).sum() == len(texts)


def test_a_text_cut_inside_a_character_loses_that_alone(tmp_path):
    write_tokens(tmp_path / "t.bin", [Piece("aß".encode()[:2], False)], Bytes())
    assert (tmp_path / "t.bin").read_bytes() == b"a"


def test_what_is_built_is_opened_and_not_built_again(tmp_path, source, folder):
    first = prepare(source, tmp_path / "built")
    (tmp_path / "built" / "mark").touch()
    assert prepare(source, tmp_path / "built").digest == first.digest and (tmp_path / "built" / "mark").exists()
    for tokenizer in ("", "bpe:400"):  # as the source of another training
        place = TextSource(sources=(str(tmp_path / "built"),), tokenizer=tokenizer)
        assert prepare(place, tmp_path / "other").digest == first.digest and not is_built(tmp_path / "other")
    with pytest.raises(UserError, match="was built by tokenizer bpe:400, not by bytes"):
        prepare(TextSource(sources=(str(tmp_path / "built"),), tokenizer="bytes"), tmp_path / "other")
    with pytest.raises(UserError, match="is a corpus of its own: name no other beside it"):
        prepare(TextSource(sources=(str(tmp_path / "built"), str(folder))), tmp_path / "other")


def test_weights_and_parts_are_kept(tmp_path, folder):
    (tmp_path / "more.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in LINES[::-1]))
    sources = (f"{folder}=3", f"{tmp_path / 'more.jsonl'}=1")
    built = build(TextSource(sources=sources, tokenizer="bpe:400"), tmp_path / "built")
    one, other = built.parts
    assert (one.weight, other.weight) == (3, 1)
    assert one.train.stop == other.train.start and other.train.stop == built.train.size
    assert one.valid.stop == other.valid.start and other.valid.stop == built.valid.size
    tokenizer = tokenizer_of(tmp_path / "built")
    for part, name in zip(built.parts, (str(folder), str(tmp_path / "more.jsonl")), strict=True):
        found = tokenizer.decode(built.train[part.train.start : part.train.stop])
        assert found == "".join(documents((name,), "train"))
        tokens = built.valid[part.valid.start : part.valid.stop]
        assert part.bytes_per_token == len(tokenizer.decode(tokens).encode()) / len(tokens)
    assert built.digest != build(TextSource(sources=(f"{folder}=1", sources[1])), tmp_path / "again").digest


class Uniform(nn.Module):
    """All tokens are equally likely."""

    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size))

    def forward(self, tokens):
        return self.weight.expand(*tokens.shape, -1)


def test_quality_is_in_bits_per_byte_whatever_the_tokenizer(tmp_path, source):
    """A uniform model over V tokens needs log2 V bits for each, and the text has so many tokens for its bytes."""
    corpus = build(source, tmp_path / "built")
    recipe = replace(TINY.recipe, valid_tokens=1 << 30)
    expected = math.log2(400) * corpus.valid.size / sum(len(one.encode()) for one in documents(source.sources, "valid"))
    model = Uniform(400)
    assert measure(model, corpus.valid, recipe, bytes_per_token=corpus.bytes_per_token) == pytest.approx(expected)
    assert measure_windows(model, corpus, recipe).mean == pytest.approx(expected)


@pytest.fixture
def built(tmp_path, source):
    build(source, tmp_path / "built")
    return tmp_path / "built"


def test_texts_without_an_end_stay_apart(tmp_path):
    """Of a single text file the first nine tenths are for training, which end inside a document."""
    texts = ["a" * 1000 + "\n", "b" * 3000 + "\n"]
    for name, text in zip("ab", texts, strict=True):
        (tmp_path / f"{name}.txt").write_text(text)
    sources = tuple(f"{tmp_path / name}.txt=1" for name in "ab")
    built = build(TextSource(sources=sources), tmp_path / "built")
    for part, letter in zip(built.parts, b"ab", strict=True):
        for tokens in (
            built.train[part.train.start : part.train.stop],
            built.valid[part.valid.start : part.valid.stop],
        ):
            assert len(tokens) and set(tokens.tolist()) <= {letter, 10}


def test_the_digest_covers_all_that_decides_a_result(built):
    """Counts of tokens and bytes and weights, besides the tokens themselves; names of sources do not count."""
    facts, digests = json.loads((built / "corpus.json").read_text()), {open_corpus(built).digest}
    changes = [("valid", [[facts["valid"][0][0], facts["valid"][0][1] * 2]]), ("vocab_size", 401)]
    changes += [("parts", [["a", 1.0]]), ("parts", [["a", 2.0]])]
    for key, value in changes:
        (built / "corpus.json").write_text(json.dumps({**facts, key: value}))
        digests.add(open_corpus(built).digest)
    assert len(digests) == 5
    (built / "corpus.json").write_text(json.dumps({**facts, "parts": [["b", 2.0]]}))
    assert open_corpus(built).digest in digests


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("vocab_size", 3),
        ("vocab_size", 0),
        ("valid", [[10, 0]]),
        ("valid", [[-1, 10]]),
        ("parts", [["a", -1.0]]),
        ("parts", [["a", float("nan")]]),
        ("dtype", "float64"),
        ("dtype", "uint8"),
    ],
)
def test_impossible_numbers_in_a_manifest_are_refused(built, key, value):
    facts = json.loads((built / "corpus.json").read_text())
    (built / "corpus.json").write_text(json.dumps({**facts, key: value}))
    with pytest.raises(UserError):
        open_corpus(built)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda place: flip(place / "train.bin"), "train.bin is not what was written: build the corpus again"),
        (lambda place: (place / "valid.bin").write_bytes(b"12"), "does not have the .* tokens that were written"),
        (lambda place: (place / "valid.bin").unlink(), "cannot read .*valid.bin"),
        (lambda place: (place / "corpus.json").write_text("{"), "corpus.json is not JSON"),
        (lambda place: (place / "corpus.json").write_text("[" * 99_999), "corpus.json is not JSON"),
        (lambda place: (place / "corpus.json").write_text('{"version": 9}'), "not one that this version of star wrote"),
        (lambda place: (place / "corpus.json").write_text('{"version": 1}'), "corpus.json is not one that star wrote"),
    ],
)
def test_damaged_files_are_told(built, damage, sentence):
    damage(built)
    with pytest.raises(UserError, match=sentence):
        open_corpus(built)


@pytest.mark.parametrize("key", ["dtype", "train", "valid", "files", "report", "documents", "parts", "vocab_size"])
def test_a_manifest_with_anything_else_in_it_is_refused(built, key):
    facts = json.loads((built / "corpus.json").read_text())
    for value in (None, "x", [["x"]], {"train": 3}):
        (built / "corpus.json").write_text(json.dumps({**facts, key: value}))
        with pytest.raises(UserError):
            open_corpus(built)


def test_another_tokenizer_in_the_folder_is_refused(built):
    (built / "tokenizer.json").write_bytes(train_tokenizer("bpe:300", LINES).file()[1])
    with pytest.raises(UserError, match="is not the one that its tokens were made by"):
        tokenizer_of(built)


def test_a_killed_build_leaves_no_corpus(tmp_path, source, monkeypatch):
    monkeypatch.setattr(token_files, "_write_manifest", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        build(source, tmp_path / "built")
    assert list(tmp_path.iterdir()) == []
