"""A corpus with its tokenizer, as files of tokens: built where there are none yet, else opened."""

from collections.abc import Iterator
from pathlib import Path

from star.data.corpus import Corpus
from star.data.shards import read_shards
from star.data.split import open_split
from star.data.text_source import TextSource, find_shards, is_built, read_manifest
from star.data.token_files import build_corpus, open_corpus, tokenizer_of, write_shards
from star.data.tokenizer import Bytes, Tokenizer, read_tokenizer, train_tokenizer
from star.data.vocabulary import BYTES, trained_size
from star.errors import UserError

TRAINED_ON = 32 << 20  # bytes of text that a tokenizer is trained on, at most


def prepare(source: TextSource, folder: Path) -> Corpus:
    """Return a corpus as files of tokens: those of the source, or those in `folder`, which are built if need be.

    Raises:
        UserError: text or a tokenizer that cannot be used.
    """
    if built := source.folder:
        is_path = source.tokenizer not in ("", BYTES) and not trained_size(source.tokenizer)
        if source.tokenizer and (is_path or source.tokenizer != read_manifest(built)["tokenizer"]):
            own, wanted = tokenizer_of(built), make_tokenizer(source)
            if own.digest != wanted.digest:
                raise UserError(f"{built} was built by tokenizer {own.name}, not by {source.tokenizer}")
        return open_corpus(built)
    if is_built(folder):
        return open_corpus(folder)
    return build(source, folder)


def build(source: TextSource, folder: Path) -> Corpus:
    """Write the tokens of a source to a folder and return them.

    Raises:
        UserError: text or a tokenizer that cannot be used.
    """
    if source.folder:
        raise UserError(f"{source.folder} is a folder of tokens already")
    found = [find_shards(Path(one)) for one in source.sources]
    if shards := [path for paths in found for path in paths]:
        if not all(found):
            raise UserError(f"{shards[0]} holds tokens, and other sources hold text: build a corpus of each")
        if source.tokenizer in ("", BYTES):
            raise UserError(f"{shards[0]} holds tokens: give the tokenizer that made them")
        tokenizer = make_tokenizer(source)
        return write_shards(folder, ", ".join(source.sources), read_shards(shards, tokenizer), tokenizer)
    return build_corpus(open_split(source.sources, source.text_field, source.limit), make_tokenizer(source), folder)


def stored_tokenizer(source: TextSource, folder: Path) -> Tokenizer:
    """Return the tokenizer of what `prepare` returned for the same source and folder.

    Raises:
        UserError: the files of tokens are not there any more.
    """
    built = source.folder or folder
    if not is_built(built):
        raise UserError(f"the tokenizer of {folder.parent} is missing: {built} holds no tokens")
    return tokenizer_of(built)


def make_tokenizer(source: TextSource) -> Tokenizer:
    """Return the tokenizer of a source: read, or trained on the begin of its text."""
    if source.tokenizer in ("", BYTES):
        return Bytes()
    if trained_size(source.tokenizer):
        return train_tokenizer(source.tokenizer, _texts(source))
    return read_tokenizer(Path(source.tokenizer))


def _texts(source: TextSource) -> Iterator[str]:
    """Yield the begin of the text to train on, in lines, so that no piece ends inside a character."""
    split = open_split(source.sources, source.text_field, min(source.limit, TRAINED_ON))
    held, left = b"", TRAINED_ON
    for piece in split.train():
        held += piece.text[:left]
        left -= len(piece.text)
        cut = len(held) if piece.ends else held.rfind(b"\n") + 1
        if cut:
            yield held[:cut].decode(errors="ignore")
            held = held[cut:]
        if left <= 0:
            return
