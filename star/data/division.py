"""Ways to divide files into text to train on and text to validate on.

Two files or more are divided by file; of a single file, every tenth document is for validation; of a single document,
the last tenth. Nothing is drawn at random: the order of the files follows from a hash of their names, so that the same
files are divided alike everywhere, on a disk or in a bucket.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import count, islice

from star.data.duplicates import Fingerprint, Seen
from star.data.listing import File
from star.data.pieces import Piece, skip, take
from star.data.report import Tally
from star.data.saved import VALID

VALID_SHARE = 10  # one file, document or byte in so many is for validation
NULL = "with null as text"


class Reading:
    """How the files of one source are read.

    Args:
        field: the name of the field that holds the text; empty for the usual names.
        part: the number of the source.
        seen: the documents to train on, of all sources.
    """

    def __init__(self, field: str, part: int, seen: Seen) -> None:
        self._field, self._part, self._seen = field, part, seen

    def pieces(self, file: File, tally: Tally, wanted: Callable[[int], bool] = lambda i: True) -> Iterator[Piece]:
        """Yield the documents with the wanted numbers."""
        tally.files += 1
        numbers, begun = count(), False
        for text in file.format.read(file.open, file.name, self._field):
            if text is None:
                tally.skipped[NULL] += 1
            elif file.format.is_one_document:
                begun = True
                yield Piece(text, False, self._part)
            elif wanted(next(numbers)):
                yield Piece(text, True, self._part)
        if begun:
            yield Piece(b"", True, self._part)

    def noted(self, file: File, tally: Tally, wanted: Callable[[int], bool] = lambda i: True) -> Iterator[Piece]:
        """Yield the same, and remember every document that is read whole."""
        document = Fingerprint()
        for piece in self.pieces(file, tally, wanted):
            if not file.is_built_in:
                document.update(piece.text)
                if piece.ends:
                    self._seen.add(document)
                    document = Fingerprint()
            yield piece

    def fresh(self, file: File, tally: Tally, wanted: Callable[[int], bool] = lambda i: True) -> Iterator[Piece]:
        """Yield the same without the documents to train on."""
        # The built-in corpora hold a few files of one line twice. They stay as recorded runs have them.
        if file.is_built_in:
            yield from self.pieces(file, tally)
        elif not file.format.is_one_document:
            for piece in self.pieces(file, tally, wanted):
                document = Fingerprint()
                document.update(piece.text)
                if document in self._seen:
                    tally.duplicates += 1
                else:
                    yield piece
        elif self._is_seen(file):
            tally.duplicates += 1
            tally.duplicate_files += 1
        else:
            yield from self.pieces(file, tally)

    def _is_seen(self, file: File) -> bool:
        """Return whether a file is a document to train on. It is read before it is used, so that nothing has to be
        taken back, but no farther than the longest of these documents.
        """
        if not len(self._seen):
            return False
        document = Fingerprint()
        for piece in self.pieces(file, Tally()):
            document.update(piece.text)
            if document.num_bytes > self._seen.longest:
                return False
        return document in self._seen


class ByFile:
    """Whole files: those that the data set says, and of the others the first tenth for validation."""

    def __init__(self, files: list[File], reading: Reading, limit: int) -> None:
        free = [file.identity for file in files if not file.side]
        first = free[: max(1, round(len(free) / VALID_SHARE))] if len(free) > 1 else []
        valid = {file.identity for file in files if file.side == VALID}.union(first)
        self._train = [file for file in files if file.identity not in valid]
        self._valid = [file for file in files if file.identity in valid]
        self._reading, self._limit = reading, limit

    def train(self, tally: Tally) -> Iterator[Piece]:
        pieces = (piece for file in self._train for piece in self._reading.noted(file, tally))
        return take(pieces, self._limit - self._limit // VALID_SHARE)

    def valid(self, tally: Tally) -> Iterator[Piece]:
        pieces = (piece for file in self._valid for piece in self._reading.fresh(file, tally))
        return take(pieces, self._limit // VALID_SHARE)


class ByDocument:
    """Documents of one file. The second is the first for validation, so that two suffice. The file is read twice."""

    def __init__(self, file: File, reading: Reading, limit: int) -> None:
        self._file, self._reading, self._limit = file, reading, limit

    def train(self, tally: Tally) -> Iterator[Piece]:
        pieces = self._reading.noted(self._file, tally, lambda i: i % VALID_SHARE != 1)
        return take(pieces, self._limit - self._limit // VALID_SHARE)

    def valid(self, tally: Tally) -> Iterator[Piece]:
        pieces = self._reading.fresh(self._file, tally, lambda i: i % VALID_SHARE == 1)
        return take(pieces, self._limit // VALID_SHARE)


class ByPlace:
    """The bytes of one document. It is read once to find its size, and once for each side."""

    def __init__(self, file: File, reading: Reading, limit: int) -> None:
        self._file, self._reading, self._limit = file, reading, limit
        self._tally = Tally()

    @cached_property
    def _place(self) -> int:
        pieces = take(self._reading.pieces(self._file, self._tally), self._limit)
        size = sum(len(piece.text) for piece in pieces)
        return size - size // VALID_SHARE

    def train(self, tally: Tally) -> Iterator[Piece]:
        place = self._place
        tally.files, tally.skipped = self._tally.files, self._tally.skipped
        yield from take(self._reading.pieces(self._file, Tally()), place)

    def valid(self, tally: Tally) -> Iterator[Piece]:
        place = self._place
        tally.files = self._tally.files
        yield from take(skip(self._reading.pieces(self._file, Tally()), place), self._limit - place)


Division = ByFile | ByDocument | ByPlace


def divide(files: list[File], reading: Reading, limit: int) -> Division:
    """Return how the first `limit` bytes of the files are divided."""
    if len(files) > 1:
        return ByFile(files, reading, limit)
    if files[0].format.is_one_document:
        return ByPlace(files[0], reading, limit)
    if len(list(islice(reading.pieces(files[0], Tally()), 2))) < 2:
        return ByPlace(files[0], reading, limit - limit // VALID_SHARE)
    return ByDocument(files[0], reading, limit)
