"""The text of a run as tokens."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from star.data.corpus import Corpus, load_corpus
from star.data.prepare import build, prepare, stored_tokenizer
from star.data.tokenizer import Bytes, Tokenizer
from star.run.settings import Settings
from star.run.vocabulary import text_source
from star.storage.files import remove
from star.storage.places import CONFIG, TEXT, refuse_undecodable


def read_text(settings: Settings, run: Path, is_new: bool) -> Corpus:
    """Return the tokens of a run. Bytes are held in memory; those of another tokenizer are files in the directory of
    the run, which a new run builds.

    Raises:
        UserError: the text or the tokenizer cannot be used.
    """
    for one in settings.corpus:
        refuse_undecodable(one)
    source = text_source(settings)
    if source.is_plain_text:
        return load_corpus(source.sources, source.limit, source.text_field)
    return build(source, run / TEXT) if is_new and not source.folder else prepare(source, run / TEXT)


@contextmanager
def text_removed_unless_begun(run: Path) -> Iterator[None]:
    """Delete the tokens of a run on the way out, and its directory if it is empty then, if the run has not begun."""
    try:
        yield
    finally:
        if (run / TEXT).exists() and not (run / CONFIG).exists():
            remove(run / TEXT)
            with suppress(OSError):  # not empty
                run.rmdir()


def read_tokenizer(settings: Settings, run: Path) -> Tokenizer:
    """Return the tokenizer of a recorded run.

    Raises:
        UserError: its file is gone, or another one.
    """
    source = text_source(settings)
    return Bytes() if source.is_plain_text else stored_tokenizer(source, run / TEXT)
