"""Tokenizers: text as integers, and back.

A tokenizer is named by a text: "bytes"; "bpe:4096" for byte-pair encoding that is trained on the corpus (Sennrich et
al. 2016, arXiv:1508.07909, on bytes as in GPT-2); or the path of a tokenizer.json or of a SentencePiece model.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from star.data.vocabulary import BYTES, LARGEST, trained_size
from star.errors import UserError, nearest

END = "<|endoftext|>"
ENDS = (END, "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>", "[SEP]")  # names of the token that ends a document
TOO_LARGE = 1 << 28  # bytes of a file that can be no tokenizer


class Tokenizer(Protocol):
    """Text as integers from 0 to vocab_size - 1, and back.

    Attributes:
        name: as a person names it.
        digest: sha256 of all that the integers depend on.
        end: the token that follows each document; None if there is none.
    """

    name: str
    digest: str
    vocab_size: int
    end: int | None

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the tokens of each text."""
        ...

    def decode(self, tokens: np.ndarray) -> str:
        """Return the text of these tokens."""
        ...

    def file(self) -> tuple[str, bytes] | None:
        """Return the name and the content of the file that makes it again; None if its name alone does."""
        ...


class Bytes:
    """The bytes of UTF-8 as tokens."""

    name, vocab_size = BYTES, 256
    end: int | None = None
    digest = hashlib.sha256(BYTES.encode()).hexdigest()

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the bytes of each text."""
        return [np.frombuffer(text.encode(), dtype=np.uint8) for text in texts]

    def decode(self, tokens: np.ndarray) -> str:
        """Return the text of these bytes, with marks in place of what is not UTF-8."""
        return bytes(token for token in tokens.tolist() if token < 256).decode(errors="replace")

    def file(self) -> None:
        """Return None: there is no file."""


class BytePairs:
    """A tokenizer of the library `tokenizers`, such as a tokenizer.json of a published model."""

    FILE = "tokenizer.json"

    def __init__(self, name: str, data: bytes) -> None:
        try:
            self._made = tokenizers.Tokenizer.from_str(data.decode())
        except Exception as error:  # the library raises Exception itself
            raise UserError(f"{name} is not a tokenizer.json: {_line(error)}") from error
        self._made.no_padding()
        self._made.no_truncation()
        self._data = data
        self.name, self.digest = name, hashlib.sha256(data).hexdigest()
        self.vocab_size = 1 + max(self._made.get_vocab().values(), default=-1)
        if not 1 <= self.vocab_size <= LARGEST:
            raise UserError(f"{name} has {self.vocab_size:,} tokens: from 1 to {LARGEST:,} can be used")
        self.end = next((found for one in ENDS if (found := self._made.token_to_id(one)) is not None), None)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the tokens of each text, without tokens that mark its begin or end."""
        try:
            found = self._made.encode_batch_fast(list(texts), add_special_tokens=False)
        except Exception as error:  # the library raises Exception itself
            raise UserError(f"tokenizer {self.name} cannot encode the text: {_line(error)}") from error
        return [np.array(one.ids, dtype=np.uint32) for one in found]

    def decode(self, tokens: np.ndarray) -> str:
        """Return the text of these tokens, without special ones."""
        return self._made.decode([token for token in tokens.tolist() if token < self.vocab_size])

    def file(self) -> tuple[str, bytes]:
        """Return the tokenizer.json."""
        return self.FILE, self._data


class SentencePieces:
    """A SentencePiece model (Kudo and Richardson 2018, arXiv:1808.06226)."""

    FILE = "tokenizer.model"

    def __init__(self, name: str, data: bytes) -> None:
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError as error:
            raise UserError(
                f'{name} is a SentencePiece model: pip install sentencepiece, or "star[sentencepiece]"'
            ) from error
        try:
            self._made = SentencePieceProcessor(model_proto=data)
        except RuntimeError as error:
            raise UserError(f"{name} is not a SentencePiece model: {_line(error)}") from error
        self._data = data
        self.name, self.digest = name, hashlib.sha256(data).hexdigest()
        self.vocab_size = self._made.vocab_size()
        self.end = self._made.eos_id() if self._made.eos_id() >= 0 else None

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the tokens of each text."""
        return [np.array(ids, dtype=np.uint32) for ids in self._made.encode(list(texts), out_type=int)]

    def decode(self, tokens: np.ndarray) -> str:
        """Return the text of these tokens."""
        return self._made.decode([token for token in tokens.tolist() if token < self.vocab_size])

    def file(self) -> tuple[str, bytes]:
        """Return the model."""
        return self.FILE, self._data


TOKENIZER_FILES = (BytePairs.FILE, SentencePieces.FILE)


def read_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer in a file: a tokenizer.json, a SentencePiece model, or a directory that holds one of them.

    Raises:
        UserError: there is none.
    """
    if path.is_dir():
        held = [path / name for name in TOKENIZER_FILES if (path / name).is_file()]
        if not held:
            raise UserError(f"{path} holds neither {BytePairs.FILE} nor {SentencePieces.FILE}")
        path = held[0]
    try:
        if path.stat().st_size > TOO_LARGE:
            raise UserError(f"{path} has {path.stat().st_size:,} bytes, which is no tokenizer")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"tokenizer {path} does not exist{nearest(str(path), (BYTES, 'bpe:4096'))}") from error
    except OSError as error:
        raise UserError(f"cannot read tokenizer {path}: {error.strerror}") from error
    kind = SentencePieces if path.suffix == ".model" else BytePairs
    return kind(str(path), data)


def train_tokenizer(name: str, texts: Iterable[str]) -> Tokenizer:
    """Return byte-pair encoding trained on these texts; `name` is "bpe:" and the size of the vocabulary.

    Equal texts give equal tokenizers, whatever the number of threads.

    Raises:
        UserError: the size is out of bounds, or the texts have too few different parts for it.
    """
    size = trained_size(name)
    assert size, "a tokenizer to train"
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator(iter(texts), trainer)
    if (found := made.get_vocab_size()) < size:
        raise UserError(
            f"the corpus is too small for tokenizer {name}: its text gives {found:,} tokens; write bpe:{found}"
        )
    return BytePairs(name, made.to_str().encode())


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
