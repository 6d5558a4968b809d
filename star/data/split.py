"""The text of a corpus in two sides, read as streams, so that it may be of any size."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from star.data.division import ByFile, Reading, divide
from star.data.duplicates import Seen
from star.data.files import find_files, source_exists
from star.data.listing import File, readable
from star.data.pieces import Piece
from star.data.report import REPEATED, CorpusReport, Tally, describe
from star.data.sources import Source, called, read_sources
from star.errors import UserError


class Section:
    """The two sides of one weighted source, or of all sources where they have no weights.

    Attributes:
        name, weight: those of the source; the weight is None without weights.
        train, valid: what was read so far.
    """

    def __init__(self, source: Source, files: list[File], reading: Reading, limit: int) -> None:
        self.name, self.weight = source
        self.train, self.valid = Tally(), Tally()
        self._files = len(files)
        self._division = divide(files, reading, limit)

    def read_train(self) -> Iterator[Piece]:
        return _counted(self._division.train(self.train), self.train)

    def read_valid(self) -> Iterator[Piece]:
        yield from _counted(self._division.valid(self.valid), self.valid)
        if self.valid.duplicates and not self.valid.documents:
            raise UserError(
                f"corpus {self.name} has nothing to validate on: all documents for validation "
                f"({self.valid.duplicates:,}) are trained on too; remove the duplicates or add text"
            )

    def left_out(self) -> Counter[str]:
        """Return the number of documents and files that were not used, by reason."""
        counts = Counter({REPEATED: self.valid.duplicates})
        if isinstance(self._division, ByFile):
            read = self.train.files + self.valid.files + self.valid.duplicate_files
            counts["not needed: enough was read before"] = self._files - read
            return counts + self.train.skipped + self.valid.skipped
        # Each side reads the file from its start, so that what both skip is counted once.
        return counts + (self.train.skipped | self.valid.skipped)


class Split:
    """The text of a corpus to train on and to validate on.

    Attributes:
        name: the sources, for messages.
        sections: one for each weighted source; a single one for sources without weights.
    """

    def __init__(self, name: str, sections: list[Section], seen: Seen, left_out: Counter[str]) -> None:
        self.name, self.sections = name, sections
        self._seen, self._left_out = seen, left_out

    def train(self) -> Iterator[Piece]:
        """Yield the pieces to train on, one source after the other. Raise UserError if a file cannot be read."""
        for section in self.sections:
            yield from self.train_of(section)

    def train_of(self, section: Section) -> Iterator[Piece]:
        """Yield the pieces of one section to train on."""
        with _named(self.name):
            yield from section.read_train()

    def valid(self) -> Iterator[Piece]:
        """Yield the pieces to validate on, without documents that `train`, to be read first, has yielded.

        Raises UserError in the end if a source holds no text, or none that is not trained on; or if a file cannot be
        read.
        """
        for section in self.sections:
            yield from self.valid_of(section)

    def valid_of(self, section: Section) -> Iterator[Piece]:
        """Yield the pieces of one section to validate on."""
        with _named(self.name):
            yield from section.read_valid()
            if not section.train.num_bytes + section.valid.num_bytes:
                rest = self.report().left_out
                told = f"; left out: {describe(Counter(dict(rest)))}" if rest else ""
                raise UserError(f"corpus {section.name} is empty{told}")

    def report(self) -> CorpusReport:
        """Return what was read so far."""
        trains, valids = [one.train for one in self.sections], [one.valid for one in self.sections]
        left_out = sum((one.left_out() for one in self.sections), self._left_out)
        return CorpusReport(
            train=(sum(one.files for one in trains), sum(one.num_bytes for one in trains)),
            valid=(sum(one.files for one in valids), sum(one.num_bytes for one in valids)),
            left_out=tuple(left_out.most_common()),
            documents=sum(one.documents for one in trains),
            duplicates=self._seen.count_repeats(),
        )


def open_split(sources: tuple[str, ...], text_field: str = "", limit: int = sys.maxsize) -> Split:
    """Return the split of the first `limit` bytes of a corpus, nine tenths of them for training.

    Args:
        sources: as for `star.data.corpus.load_corpus`.
        text_field: name of the field or column that holds the text, dots lead into nested ones; empty for the first of
            "text", "content", "messages" and "conversations".
        limit: bytes of text to read; with weights each source has its share of them.

    Raises UserError if a source is missing, unreadable or not what its suffix says, or for wrong weights.
    """
    named = read_sources(sources, source_exists)
    name = ", ".join(called(one.name) + ("" if one.weight is None else f"={one.weight:g}") for one in named)
    if named[0].weight is None:
        groups = [(Source(name), tuple(source.name for source in named))]
    else:
        groups = [(source._replace(name=called(source.name)), (source.name,)) for source in named]
    total = sum(source.weight or 1 for source, _ in groups)
    seen, taken, left_out = Seen(), set[str](), Counter[str]()
    sections = []
    with _named(name):
        for part, (source, members) in enumerate(groups):
            found, rest = find_files(members)
            files = [file for file in found if file.identity not in taken]
            if not files:
                raise UserError(f"corpus {source.name} holds no file that no other source holds")
            taken.update(file.identity for file in files)
            left_out += rest
            share = limit if source.weight is None else int(limit * (source.weight / total))
            sections.append(Section(source, files, Reading(text_field, part, seen), share))
    return Split(name, sections, seen, left_out)


def _counted(pieces: Iterable[Piece], tally: Tally) -> Iterator[Piece]:
    begins = True
    for piece in pieces:
        tally.documents += begins
        tally.num_bytes += len(piece.text)
        begins = piece.ends
        yield piece


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot read {readable(error.filename or name)}: {error.strerror or error}") from error
