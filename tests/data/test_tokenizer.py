"""Tokenizers against the libraries that read the same files, and what they refuse."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import sentencepiece
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from support.paths import ROOT
from tokenizers.models import WordLevel

from star.data.tokenizer import END, Bytes, read_tokenizer, train_tokenizer
from star.data.vocabulary import default_tokenizer, model_vocabulary, padded, trained_size
from star.errors import UserError

TEXTS = [f"{n} times {n} is {n * n}.\nÜber {chr(0x4E00 + n)} Straßen\n" for n in range(400)]
TRAINED = train_tokenizer("bpe:400", TEXTS)


@given(st.text())
def test_bytes_and_byte_pairs_lose_nothing(text):
    for tokenizer in (Bytes(), TRAINED):
        (tokens,) = tokenizer.encode([text])
        assert tokenizer.decode(tokens) == text
        assert all(0 <= token < tokenizer.vocab_size for token in tokens)


def test_bytes_are_those_of_utf_8():
    assert [one.tolist() for one in Bytes().encode(["aß", ""])] == [[97, 195, 159], []]
    assert Bytes().decode(np.array([97, 195, 300])) == "a\ufffd"


def test_a_trained_tokenizer_has_the_size_and_makes_text_shorter():
    assert TRAINED.vocab_size == 400
    assert TRAINED.end is not None and TRAINED.decode(np.array([TRAINED.end])) == ""
    assert sum(map(len, TRAINED.encode(TEXTS))) < len("".join(TEXTS).encode()) / 2


def test_equal_texts_give_equal_tokenizers_in_any_process_with_any_threads():
    script = (
        "import sys; from star.data.tokenizer import train_tokenizer\n"
        "texts = [f'{n} times {n} is {n * n}.\\nÜber {chr(0x4E00 + n)} Straßen\\n' for n in range(400)]\n"
        "print(train_tokenizer('bpe:400', texts).digest)"
    )
    for threads in ("1", "3"):
        environment = os.environ | {"RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads, "PYTHONPATH": str(ROOT)}
        found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
        assert found.stdout.strip() == TRAINED.digest


def test_the_file_of_a_tokenizer_makes_it_again(tmp_path):
    name, data = TRAINED.file()
    (tmp_path / name).write_bytes(data)
    for place in (tmp_path, tmp_path / name):
        again = read_tokenizer(place)
        assert again.digest == TRAINED.digest and again.end == TRAINED.end
        assert [one.tolist() for one in again.encode(TEXTS)] == [one.tolist() for one in TRAINED.encode(TEXTS)]
    oracle = tokenizers.Tokenizer.from_file(str(tmp_path / name))
    assert [oracle.encode(text).ids for text in TEXTS] == [one.tolist() for one in TRAINED.encode(TEXTS)]


def test_a_tokenizer_json_adds_no_special_tokens_and_cuts_nothing(tmp_path):
    """As those of published models do by default."""
    made = tokenizers.Tokenizer(WordLevel({"[UNK]": 0, "a": 1, "b": 2, "[CLS]": 3, "</s>": 4}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 3)])
    made.enable_truncation(2)
    made.enable_padding(length=8)
    made.save(str(tmp_path / "tokenizer.json"))
    read = read_tokenizer(tmp_path)
    assert [one.tolist() for one in read.encode(["a b a b", "a"])] == [[1, 2, 1, 2], [1]]
    assert read.end == 4


def test_a_sentencepiece_model_gives_what_its_library_gives(tmp_path):
    (tmp_path / "text.txt").write_text("".join(TEXTS))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"), model_prefix=str(tmp_path / "tokenizer"), vocab_size=800, byte_fallback=True
    )
    read = read_tokenizer(tmp_path / "tokenizer.model")
    oracle = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    assert read.vocab_size == 800 and read.end == oracle.eos_id()
    assert [one.tolist() for one in read.encode(TEXTS)] == [oracle.encode(text) for text in TEXTS]
    assert read.decode(read.encode(["7 times 7"])[0]) == "7 times 7"
    with pytest.raises(UserError, match="is not a SentencePiece model"):
        (tmp_path / "torn.model").write_bytes((tmp_path / "tokenizer.model").read_bytes()[:1000])
        read_tokenizer(tmp_path / "torn.model")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"{", "is not a tokenizer.json"),
        (b"\xff\xfe", "is not a tokenizer.json"),
        (json.dumps({"version": "1.0", "model": {"type": "no"}}).encode(), "is not a tokenizer.json"),
        (tokenizers.Tokenizer(WordLevel({})).to_str().encode(), "has 0 tokens: from 1 to 1,048,576 can be used"),
    ],
)
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path, data, sentence):
    (tmp_path / "tokenizer.json").write_bytes(data)
    with pytest.raises(UserError, match=sentence):
        read_tokenizer(tmp_path)


def test_a_path_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds neither tokenizer.json nor tokenizer.model"):
        read_tokenizer(tmp_path)
    with pytest.raises(UserError, match="tokenizer byte does not exist; did you mean 'bytes'"):
        read_tokenizer(type(tmp_path)("byte"))


def test_a_corpus_too_small_for_a_vocabulary_is_told_what_it_gives():
    with pytest.raises(UserError, match=r"too small for tokenizer bpe:4000: its text gives 2\d\d tokens; write bpe:2"):
        train_tokenizer("bpe:4000", ["aaa"])


@pytest.mark.parametrize("name", ["bpe", "bpe:", "bpe:x", "bpe:-1", "bpe:99999999"])
def test_a_name_without_a_size_is_refused(name):
    with pytest.raises(UserError, match="must be bpe: and the size of its vocabulary, such as bpe:4096"):
        trained_size(name)


def test_sizes_of_vocabularies():
    assert (trained_size("bpe:257"), trained_size("bytes"), trained_size("a/b.json")) == (257, 0, 0)
    for name in ("bpe:256", "bpe:2000000"):
        with pytest.raises(UserError, match="must lie between 257 and 1,048,576"):
            trained_size(name)
    assert [padded(size) for size in (1, 64, 65, 256, 50_257)] == [64, 64, 128, 256, 50_304]
    assert model_vocabulary("nano", 256, "x", 50_257) == 50_304
    assert model_vocabulary("125m", 50_304, "x", 2_048) == 2_048
    with pytest.raises(UserError, match="tokenizer x has 128,256 tokens, and scale 125m a vocabulary of 50,304"):
        model_vocabulary("125m", 50_304, "x", 128_256)
    assert default_tokenizer("nano", 256) == "bytes"
    with pytest.raises(UserError, match="scale 125m has a vocabulary of 50,304: give a tokenizer, such as bpe:32768"):
        default_tokenizer("125m", 50_304)


def test_the_end_of_a_document_is_one_token():
    assert TRAINED.encode([END])[0].tolist() == [TRAINED.end]
