"""Names of tokenizers, and the size of the vocabulary that each gives a model."""

import re

from star.errors import UserError

BYTES = "bytes"
BYTE_VALUES = 256
TRAINED = re.compile(r"bpe:(\d{1,7})")
SMALLEST, LARGEST = 257, 1 << 20  # of byte-pair encoding: all bytes and the end of a document
MULTIPLE = 64  # matrices of such sizes are fast on a GPU


def trained_size(name: str) -> int:
    """Return the size of the vocabulary of a tokenizer that is to be trained; 0 for any other name.

    Raises:
        UserError: the size is missing or out of bounds.
    """
    match = TRAINED.fullmatch(name)
    if not match:
        if name.startswith("bpe:") or name == "bpe":
            raise UserError(f"tokenizer {name!r:.40} must be bpe: and the size of its vocabulary, such as bpe:4096")
        return 0
    size = int(match[1])
    if not SMALLEST <= size <= LARGEST:
        raise UserError(f"the vocabulary of tokenizer {name} must lie between {SMALLEST:,} and {LARGEST:,}")
    return size


def padded(vocab_size: int) -> int:
    """Return the rows of an embedding for so many tokens: the next multiple of 64."""
    return -(-vocab_size // MULTIPLE) * MULTIPLE


def model_vocabulary(scale: str, scale_size: int, tokenizer: str, tokenizer_size: int) -> int:
    """Return the vocabulary of a model of a scale for a tokenizer of so many tokens.

    A scale of bytes takes any tokenizer; any other is for tokenizers of at most its vocabulary.

    Raises:
        UserError: the tokenizer has more tokens than the scale.
    """
    if BYTE_VALUES < scale_size < tokenizer_size:
        raise UserError(
            f"tokenizer {tokenizer} has {tokenizer_size:,} tokens, and scale {scale} a vocabulary of {scale_size:,}"
        )
    return padded(tokenizer_size)


def default_tokenizer(scale: str, scale_size: int) -> str:
    """Return the tokenizer of a scale where none is given: bytes.

    Raises:
        UserError: the scale has a larger vocabulary, so that a person has to choose.
    """
    if scale_size <= BYTE_VALUES:
        return BYTES
    raise UserError(
        f"scale {scale} has a vocabulary of {scale_size:,}: give a tokenizer, such as bpe:{min(scale_size, 32_768)}, "
        "the path of a tokenizer.json, or bytes"
    )
