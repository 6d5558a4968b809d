"""Shards of tokens that other programs wrote, as one corpus.

nanoGPT writes tokens as uint16 without a header; llm.c puts 256 integers of 32 bits before them, of which the first
three are a magic number, a version and the number of tokens; numpy writes .npy. Files with "val", "valid" or
"validation" as a word of their names are for validation; without any, the last tenth of each file is.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from star.data.tokenizer import Tokenizer
from star.errors import UserError, disk_errors_reported

VALID = re.compile(r"(^|[_-])(val|valid|validation)([_.-]|$)")
# Of the first number of a file with a header: the version, and the type of the tokens.
HEADERS = {20240520: (1, np.uint16), 20240801: (7, np.uint32)}
HEADER = 256  # integers of 32 bits
VALID_SHARE = 10  # without files for validation one token in so many is
PIECE = 1 << 20  # tokens read at once


def open_shard(path: Path, vocab_size: int) -> np.ndarray:
    """Return the tokens of a shard, mapped into memory.

    Raises:
        UserError: it is no such file, or is cut off.
    """
    with disk_errors_reported(f"read {path}"):
        if path.suffix == ".npy":
            try:
                tokens = np.load(path, mmap_mode="r", allow_pickle=False)
            except (ValueError, EOFError) as error:
                raise UserError(f"{path} is not a .npy file of integers: {str(error).splitlines()[0]}") from error
            if tokens.ndim != 1 or tokens.dtype.kind not in "ui":
                raise UserError(f"{path} holds {tokens.dtype} of shape {tokens.shape}, not a row of integers")
            return tokens
        head = np.fromfile(path, "<i4", 3)
        if len(head) == 3 and head[0] in HEADERS:
            version, dtype = HEADERS[int(head[0])]
            if head[1] != version:
                raise UserError(f"{path} has a header of version {head[1]}, not {version}")
            tokens = np.memmap(path, dtype, "r", offset=4 * HEADER)
            if len(tokens) != head[2]:
                raise UserError(
                    f"{path} is cut off: its header promises {head[2]:,} tokens, and it has {len(tokens):,}"
                )
            return tokens
        dtype = np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)
        size = path.stat().st_size
        if not size or size % dtype.itemsize:
            raise UserError(f"{path} has {size:,} bytes, which are no tokens of {dtype}")
        return np.memmap(path, dtype, "r")


def read_shards(paths: list[Path], tokenizer: Tokenizer) -> dict[str, Iterator[np.ndarray]]:
    """Return the tokens for training and for validation, in pieces.

    Raises:
        UserError: a token that the tokenizer does not have, or a file that cannot be read.
    """
    opened = {path: open_shard(path, tokenizer.vocab_size) for path in paths}
    valid = [path for path in paths if VALID.search(path.name)]
    if valid and len(valid) < len(paths):
        sides = {"train": [(one, slice(None)) for one in paths if one not in valid]}
        sides["valid"] = [(one, slice(None)) for one in valid]
    else:
        cuts = {path: len(tokens) - len(tokens) // VALID_SHARE for path, tokens in opened.items()}
        sides = {"train": [(one, slice(0, cuts[one])) for one in paths]}
        sides["valid"] = [(one, slice(cuts[one], None)) for one in paths]

    def pieces(chosen: list[tuple[Path, slice]]) -> Iterator[np.ndarray]:
        for path, part in chosen:
            tokens = opened[path][part]
            for start in range(0, len(tokens), PIECE):
                piece = np.asarray(tokens[start : start + PIECE])
                if len(piece) and not 0 <= piece.min() <= piece.max() < tokenizer.vocab_size:
                    raise UserError(
                        f"{path} holds token {piece.max():,}, and tokenizer {tokenizer.name} has "
                        f"{tokenizer.vocab_size:,}: these are shards of another tokenizer"
                    )
                yield piece

    return {side: pieces(chosen) for side, chosen in sides.items()}
