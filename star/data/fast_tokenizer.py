"""A tokenizer as the tokenizer.json that transformers loads."""

from typing import NamedTuple

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from star.data.tokenizer import ENDS
from star.errors import UserError

FILE = "tokenizer.json"


class FastTokenizer(NamedTuple):
    """A tokenizer.json, and its tokens by what they are for ("eos_token", "pad_token"), each with its number."""

    text: str
    special: dict[str, tuple[str, int]]


def fast_tokenizer(file: tuple[str, bytes] | None) -> FastTokenizer:
    """Return the fast form of a tokenizer, given as the name and the content of its file; None stands for bytes.

    Raises:
        UserError: it is a SentencePiece model.
    """
    if file is None:
        return FastTokenizer(_bytes().to_str(), {"pad_token": (_letters()[0], 0)})
    name, data = file
    if name != FILE:
        raise UserError(f"transformers needs a {FILE}, and this model has the SentencePiece tokenizer {name}")
    made = Tokenizer.from_str(data.decode())
    ends = [(one, found) for one in ENDS if (found := made.token_to_id(one)) is not None]
    special = {"eos_token": ends[0], "pad_token": ends[0]} if ends else {"pad_token": (made.id_to_token(0), 0)}
    return FastTokenizer(made.to_str(), special)


def _bytes() -> Tokenizer:
    """Return a tokenizer of bytes: the number of each token is its byte."""
    tokenizer = Tokenizer(models.BPE({letter: byte for byte, letter in enumerate(_letters())}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _letters() -> list[str]:
    """Return the letter that stands for each byte in byte-level tokenizers: itself where it is printed, else one of
    those from 256 on."""
    printed = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printed else next(others)) for byte in range(256)]
