"""The files that a corpus was made of, and those that were left out of it."""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Side(NamedTuple):
    """Text for training or validation: the number of its files, and of skipped documents by reason."""

    text: np.ndarray
    files: int
    skipped: Counter[str]


@dataclass(frozen=True, slots=True)
class CorpusReport:
    """Files and bytes of both sides, and the number left out for each reason."""

    train: tuple[int, int] = (0, 0)
    valid: tuple[int, int] = (0, 0)
    left_out: tuple[tuple[str, int], ...] = ()

    def lines(self) -> list[str]:
        """Return one sentence on the text that was read, and one on anything left out."""
        train, valid = (f"{size:,} bytes of {_count_files(files)}" for files, size in (self.train, self.valid))
        read = f"the corpus has {train} to train on and {valid} to validate on"
        return [read, f"left out of the corpus: {describe(Counter(dict(self.left_out)))}"] if self.left_out else [read]


def describe(left_out: Counter[str]) -> str:
    """Return each reason with its number, the largest first."""
    return ", ".join(f"{count:,} {reason}" for reason, count in left_out.most_common())


def _count_files(number: int) -> str:
    return f"{number:,} file{'s' * (number != 1)}"
