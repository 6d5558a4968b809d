"""A corpus as files of tokens, which are mapped into memory, so that it may be of any size.

DIR/corpus.json      what the files hold: tokenizer, counts, digests; it makes the folder a corpus
DIR/train.bin        tokens to train on, without a header: uint8, uint16 or uint32, the smallest that holds them all
DIR/valid.bin        tokens to validate on
DIR/tokenizer.json   the tokenizer, or tokenizer.model; none for bytes
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from star.data.corpus import Corpus, Part
from star.data.pieces import Piece
from star.data.report import CorpusReport
from star.data.split import Split
from star.data.text_source import MANIFEST, VERSION, read_manifest
from star.data.tokenizer import Bytes, Tokenizer, read_tokenizer
from star.data.vocabulary import BYTES
from star.errors import UserError, disk_errors_reported

SIDES = ("train", "valid")
CHUNK = 1 << 20  # bytes of text that are encoded at once, at most, so that a document may be of any length
PIECE = 4 << 20  # bytes of tokens that are read at once
BATCH = 8 << 20  # bytes of text that are held, about
DTYPES = (np.uint8, np.uint16, np.uint32)


class Written(NamedTuple):
    """What one side holds of one part: tokens, and bytes of the text that they stand for."""

    tokens: int
    bytes: int


Fill = Callable[[Path], tuple[dict[str, list[Written]], CorpusReport]]


def build_corpus(split: Split, tokenizer: Tokenizer, folder: Path) -> Corpus:
    """Write a corpus as files of tokens and open it. The folder appears whole or not at all.

    Raises:
        UserError: the text cannot be read, or the folder not be written.
    """

    def fill(temporary: Path) -> tuple[dict[str, list[Written]], CorpusReport]:
        written = {
            side: write_tokens(temporary / f"{side}.bin", pieces, tokenizer)
            for side, pieces in (("train", split.train()), ("valid", split.valid()))
        }
        return written, split.report()

    parts = [(one.name, one.weight) for one in split.sections if one.weight is not None]
    return _write_folder(folder, split.name, tokenizer, parts, fill)


def write_shards(folder: Path, name: str, sides: dict[str, Iterator[np.ndarray]], tokenizer: Tokenizer) -> Corpus:
    """Write tokens that another program made as a corpus and open it. The bytes that those for validation stand for are
    counted in their text; those for training count as many each.
    """
    dtype = dtype_of(tokenizer.vocab_size)

    def fill(temporary: Path) -> tuple[dict[str, list[Written]], CorpusReport]:
        sizes, num_bytes = {}, 0
        for side, pieces in sides.items():
            with (temporary / f"{side}.bin").open("wb") as file:
                sizes[side] = 0
                for tokens in pieces:
                    sizes[side] += _write(file, tokens, dtype)
                    if side == "valid":
                        num_bytes += len(tokenizer.decode(tokens).encode())
        each = num_bytes / max(1, sizes["valid"])
        written = {side: [Written(size, round(size * each))] for side, size in sizes.items()}
        return written, CorpusReport(*((0, written[side][0].bytes) for side in SIDES))

    return _write_folder(folder, name, tokenizer, [], fill)


def write_tokens(path: Path, pieces: Iterable[Piece], tokenizer: Tokenizer) -> list[Written]:
    """Write the tokens of these pieces and return what each part has."""
    dtype, counts = dtype_of(tokenizer.vocab_size), {}
    with path.open("wb") as file:
        for batch in _batches(chunks(pieces)):
            for (text, _, part), tokens in zip(batch, encode_chunks(batch, tokenizer), strict=True):
                size = _write(file, tokens, dtype)
                before = counts.get(part, Written(0, 0))
                counts[part] = Written(before.tokens + size, before.bytes + len(text))
    return [counts.get(part, Written(0, 0)) for part in range(max(counts, default=0) + 1)]


def encode_chunks(chunks: list[Piece], tokenizer: Tokenizer) -> list[np.ndarray]:
    """Return the tokens of each chunk, with the tokenizer's last one where a document ends.

    A text that is cut may begin or end inside a character, which is left out.
    """
    found = tokenizer.encode([text.decode(errors="ignore") for text, _, _ in chunks])
    if tokenizer.end is None:
        return found
    ended = (np.full(int(ends), tokenizer.end, dtype=np.uint32) for _, ends, _ in chunks)
    return [np.concatenate(parts) for parts in zip(found, ended, strict=True)]


def _write_folder(folder: Path, name: str, tokenizer: Tokenizer, parts: list[tuple[str, float]], fill: Fill) -> Corpus:
    """Let `fill` write the tokens to a temporary folder, add the rest, and put it in place."""
    folder = folder.absolute()
    temporary = folder.with_name(f".{folder.name}.tmp")
    with disk_errors_reported(f"write {folder}"):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            written, report = fill(temporary)
            _write_manifest(temporary, name, tokenizer, written, parts, report)
            for path in (*temporary.iterdir(), temporary):
                _sync(path)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(temporary, folder)
            _sync(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return open_corpus(folder)


def _write_manifest(
    folder: Path,
    name: str,
    tokenizer: Tokenizer,
    written: dict[str, list[Written]],
    parts: list[tuple[str, float]],
    report: CorpusReport,
) -> None:
    """Write what makes a folder of tokens a corpus, and its tokenizer."""
    if kept := tokenizer.file():
        (folder / kept[0]).write_bytes(kept[1])
    dtype = np.dtype(dtype_of(tokenizer.vocab_size))
    facts = {
        "version": VERSION,
        "name": name,
        "tokenizer": tokenizer.name,
        "tokenizer_digest": tokenizer.digest,
        "vocab_size": tokenizer.vocab_size,
        "dtype": dtype.name,
        "parts": parts,
        **{side: [list(one) for one in written[side]] for side in SIDES},
        "files": {side: _digest(folder / f"{side}.bin", dtype)[0] for side in SIDES},
        "report": [*map(list, (report.train, report.valid)), *(list(map(list, report.left_out)),)],
        "documents": [report.documents, report.duplicates],
    }
    (folder / MANIFEST).write_text(json.dumps(facts, indent=1) + "\n")


def open_corpus(folder: Path) -> Corpus:
    """Return the corpus in a folder, mapped into memory.

    Raises:
        UserError: there is none, or its files are not those that were written.
    """
    facts = read_manifest(folder)
    try:
        dtype = np.dtype(facts["dtype"])
        if dtype not in map(np.dtype, DTYPES):
            raise ValueError(f"dtype {facts['dtype']}")
        sides = {side: [Written(*map(int, one)) for one in facts[side]] for side in SIDES}
        arrays = {side: _map(folder / f"{side}.bin", dtype, sides[side]) for side in SIDES}
        for side in SIDES:
            path = folder / f"{side}.bin"
            digest, largest = _digest(path, dtype)
            if digest != facts["files"][side] or largest >= facts["vocab_size"]:
                raise UserError(f"{path} is not what was written: build the corpus again")
        if not isinstance(facts["parts"], list):
            raise ValueError("parts")
        weights = [float(weight) for _, weight in facts["parts"]]
        decisive = [facts["files"], weights, facts["tokenizer_digest"], facts["vocab_size"], facts["dtype"]]
        digest = hashlib.sha256(json.dumps([*decisive, facts["train"], facts["valid"]]).encode())
        total = Written(*np.sum(sides["valid"], axis=0).tolist())
        if not total.tokens or not total.bytes:
            raise ValueError("no text for validation")
        return Corpus(
            name=str(facts["name"]),
            train=arrays["train"],
            valid=arrays["valid"],
            digest=digest.hexdigest(),
            report=_read_report(facts),
            parts=_parts(facts["parts"], sides),
            tokenizer=str(facts["tokenizer"]),
            vocab_size=int(facts["vocab_size"]),
            bytes_per_token=total.bytes / total.tokens,
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{folder / MANIFEST} is not one that star wrote: {error}") from error


def _read_report(facts: dict[str, Any]) -> CorpusReport:
    (files, size), (valid_files, valid_size), left_out = facts["report"]
    documents, duplicates = facts["documents"]
    return CorpusReport(
        train=(int(files), int(size)),
        valid=(int(valid_files), int(valid_size)),
        left_out=tuple((str(why), int(count)) for why, count in left_out),
        documents=int(documents),
        duplicates=int(duplicates),
    )


def tokenizer_of(folder: Path) -> Tokenizer:
    """Return the tokenizer of a corpus as files of tokens."""
    facts = read_manifest(folder)
    if facts.get("tokenizer") == BYTES:
        return Bytes()
    tokenizer = read_tokenizer(folder)
    if tokenizer.digest != facts.get("tokenizer_digest"):
        raise UserError(f"the tokenizer in {folder} is not the one that its tokens were made by")
    tokenizer.name = str(facts.get("tokenizer"))
    return tokenizer


def dtype_of(vocab_size: int) -> type[np.unsignedinteger]:
    """Return the smallest type of numbers for so many tokens."""
    return next(one for one in DTYPES if vocab_size - 1 <= np.iinfo(one).max)


def chunks(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield the same text in chunks that follow from it alone, however it was read: documents, long ones in parts of
    at most CHUNK bytes that end with a line, else with a word."""
    held, part = b"", 0
    for piece in pieces:
        if held and piece.part != part:  # the text of the source before was cut
            yield Piece(held, False, part)
            held = b""
        held, part = held + piece.text, piece.part
        while len(held) > CHUNK:
            cut = _cut(held)
            yield Piece(held[:cut], False, part)
            held = held[cut:]
        if piece.ends:
            yield Piece(held, True, part)
            held = b""
    if held:
        yield Piece(held, False, part)


def _cut(held: bytes) -> int:
    """Return the place after the last line within CHUNK bytes, else after the last word, else between characters."""
    for mark in (b"\n", b" "):
        if place := held.rfind(mark, 0, CHUNK) + 1:
            return place
    place = CHUNK
    while held[place] & 0xC0 == 0x80:  # inside a character of UTF-8
        place -= 1
    return place


def _batches(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    batch, size = [], 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece.text)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _write(file: BinaryIO, tokens: np.ndarray, dtype: type[np.unsignedinteger]) -> int:
    file.write(tokens.astype(np.dtype(dtype).newbyteorder("<"), copy=False).tobytes())
    return len(tokens)


def _map(path: Path, dtype: np.dtype, parts: list[Written]) -> np.ndarray:
    size = sum(one.tokens for one in parts)
    with disk_errors_reported(f"read {path}"):
        if path.stat().st_size != size * dtype.itemsize:
            raise UserError(f"{path} does not have the {size:,} tokens that were written: build the corpus again")
        return np.memmap(path, dtype, "r") if size else np.empty(0, dtype)


def _parts(named: list, sides: dict[str, list[Written]]) -> tuple[Part, ...]:
    parts, train, valid = [], 0, 0
    for (name, weight), one, other in zip(named, sides["train"], sides["valid"], strict=True) if named else ():
        ranges = range(train, train + one.tokens), range(valid, valid + other.tokens)
        train, valid = ranges[0].stop, ranges[1].stop
        parts.append(Part(str(name), *ranges, float(weight), other.bytes / max(1, other.tokens)))
    return tuple(parts)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path, dtype: np.dtype) -> tuple[str, int]:
    """Return the SHA-256 of a file and the largest token in it."""
    digest, largest = hashlib.sha256(), 0
    with disk_errors_reported(f"read {path}"), path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            whole = len(piece) // dtype.itemsize * dtype.itemsize
            largest = max(largest, int(np.frombuffer(piece[:whole], dtype).max(initial=0)))
    return digest.hexdigest(), largest
