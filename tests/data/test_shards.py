"""Shards of tokens as nanoGPT, llm.c and numpy write them."""

import numpy as np
import pytest

from star.data.prepare import build
from star.data.text_source import TextSource
from star.data.tokenizer import train_tokenizer
from star.errors import UserError

TEXT = "".join(f"{n} times {n} is {n * n}.\n" for n in range(800))
TOKENIZER = train_tokenizer("bpe:400", [TEXT])
TOKENS = TOKENIZER.encode([TEXT])[0]


@pytest.fixture
def tokenizer(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(TOKENIZER.file()[1])
    return str(path)


def raw(path, tokens):
    tokens.astype(np.uint16).tofile(path)


def with_header(path, tokens):
    header = np.zeros(256, np.int32)
    header[:3] = 20240520, 1, len(tokens)
    path.write_bytes(header.tobytes() + tokens.astype(np.uint16).tobytes())


def with_wide_header(path, tokens):
    header = np.zeros(256, np.int32)
    header[:3] = 20240801, 7, len(tokens)
    path.write_bytes(header.tobytes() + tokens.astype(np.uint32).tobytes())


def as_array(path, tokens):
    np.save(path, tokens.astype(np.int64))


FORMATS = [(raw, ".bin"), (with_header, ".bin"), (with_wide_header, ".bin"), (as_array, ".npy")]


@pytest.mark.parametrize(("write", "suffix"), FORMATS)
def test_shards_become_a_corpus(tmp_path, tokenizer, write, suffix):
    folder, cut = tmp_path / "shards", len(TOKENS) * 4 // 5
    folder.mkdir()
    write(folder / f"fineweb_train_000001{suffix}", TOKENS[: cut // 2])
    write(folder / f"fineweb_train_000002{suffix}", TOKENS[cut // 2 : cut])
    write(folder / f"fineweb_val_000000{suffix}", TOKENS[cut:])
    corpus = build(TextSource(sources=(str(folder),), tokenizer=tokenizer), tmp_path / "built")
    np.testing.assert_array_equal(corpus.train, TOKENS[:cut])
    np.testing.assert_array_equal(corpus.valid, TOKENS[cut:])
    assert corpus.bytes_per_token == len(TOKENIZER.decode(TOKENS[cut:]).encode()) / len(TOKENS[cut:])
    assert corpus.vocab_size == 400


def test_a_single_shard_gives_its_last_tenth_for_validation(tmp_path, tokenizer):
    raw(tmp_path / "data.bin", TOKENS)
    corpus = build(TextSource(sources=(str(tmp_path / "data.bin"),), tokenizer=tokenizer), tmp_path / "built")
    assert corpus.valid.size == len(TOKENS) // 10
    np.testing.assert_array_equal(np.concatenate([corpus.train, corpus.valid]), TOKENS)


def short_header(path):
    with_header(path, TOKENS)
    path.write_bytes(path.read_bytes()[:-10])


def other_version(path):
    header = np.zeros(256, np.int32)
    header[:3] = 20240520, 2, 1
    path.write_bytes(header.tobytes() + b"12")


@pytest.mark.parametrize(
    ("name", "write", "sentence"),
    [
        ("a.bin", lambda path: raw(path, TOKENS + 300), "holds token .* these are shards of another tokenizer"),
        ("a.bin", short_header, "is cut off: its header promises"),
        ("a.bin", other_version, "has a header of version 2, not 1"),
        ("a.bin", lambda path: path.write_bytes(b"123"), "has 3 bytes, which are no tokens of uint16"),
        ("a.bin", lambda path: path.write_bytes(b""), "has 0 bytes, which are no tokens"),
        ("a.npy", lambda path: path.write_bytes(b"123"), "is not a .npy file of integers"),
        ("a.npy", lambda path: np.save(path, np.zeros(9)), "holds float64 of shape"),
        ("a.npy", lambda path: np.save(path, np.zeros((3, 3), int)), "holds int64 of shape"),
        ("a.npy", lambda path: np.save(path, np.array([{}]), allow_pickle=True), "is not a .npy file of integers"),
        ("a.npy", lambda path: np.save(path, -TOKENS.astype(int)), "these are shards of another tokenizer"),
    ],
)
def test_what_is_no_shard_of_the_tokenizer_is_refused(tmp_path, tokenizer, name, write, sentence):
    write(tmp_path / name)
    with pytest.raises(UserError, match=sentence):
        build(TextSource(sources=(str(tmp_path / name),), tokenizer=tokenizer), tmp_path / "built")
    assert not (tmp_path / "built").exists()


def test_shards_need_their_tokenizer(tmp_path):
    raw(tmp_path / "a.bin", TOKENS)
    with pytest.raises(UserError, match="holds tokens: give the tokenizer that made them"):
        build(TextSource(sources=(str(tmp_path / "a.bin"),)), tmp_path / "built")


def test_shards_and_text_are_not_mixed(tmp_path, tokenizer):
    raw(tmp_path / "a.bin", TOKENS)
    (tmp_path / "a.txt").write_text(TEXT)
    with pytest.raises(UserError, match="holds tokens, and other sources hold text: build a corpus of each"):
        build(
            TextSource(sources=(str(tmp_path / "a.bin"), str(tmp_path / "a.txt")), tokenizer=tokenizer), tmp_path / "b"
        )
