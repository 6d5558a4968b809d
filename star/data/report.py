"""The files that a corpus was made of, and those that were left out of it."""

from collections import Counter
from dataclasses import dataclass, field

REPEATED = "for validation that are trained on too"


@dataclass(slots=True)
class Tally:
    """What was read for training or for validation so far.

    Attributes:
        files: those that were opened, without those that were left out as duplicates.
        documents, num_bytes: what was read of them.
        duplicates: documents of the validation that were left out, because they are trained on.
        duplicate_files: those among them that were whole files.
        skipped: number of documents that were skipped for each other reason.
    """

    files: int = 0
    documents: int = 0
    num_bytes: int = 0
    duplicates: int = 0
    duplicate_files: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class CorpusReport:
    """Files and bytes of both sides, the number left out for each reason, documents and duplicates to train on."""

    train: tuple[int, int] = (0, 0)
    valid: tuple[int, int] = (0, 0)
    left_out: tuple[tuple[str, int], ...] = ()
    documents: int = 0
    duplicates: int = 0

    def lines(self) -> list[str]:
        """Return one sentence on the text that was read, and one on anything left out."""
        train, valid = (f"{size:,} bytes of {_count_files(files)}" for files, size in (self.train, self.valid))
        repeats = f" ({self.duplicates:,} of {self.documents:,} documents repeat others)" if self.duplicates else ""
        read = f"the corpus has {train}{repeats} to train on and {valid} to validate on"
        return [read, f"left out of the corpus: {describe(Counter(dict(self.left_out)))}"] if self.left_out else [read]


def describe(left_out: Counter[str]) -> str:
    """Return each reason with its number, the largest first."""
    return ", ".join(f"{count:,} {reason}" for reason, count in left_out.most_common())


def _count_files(number: int) -> str:
    return f"{number:,} file{'s' * (number != 1)}"
