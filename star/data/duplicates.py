"""Exact duplicates among documents, known by hashes of eight bytes.

Of n documents and m others, about n m / 2^64 are taken for duplicates that are none.
"""

import hashlib
from array import array
from bisect import bisect_left

import numpy as np


class Fingerprint:
    """The hash of a document whose pieces come one after the other, and its size in bytes."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=8)
        self.num_bytes = 0

    def update(self, piece: bytes) -> None:
        self._hash.update(piece)
        self.num_bytes += len(piece)

    def value(self) -> int:
        return int.from_bytes(self._hash.digest())


class Seen:
    """The fingerprints of documents, in eight bytes each.

    Attributes:
        longest: bytes of the longest document.
    """

    def __init__(self) -> None:
        self._values = array("Q")
        self._is_sorted = True
        self.longest = 0

    def __len__(self) -> int:
        return len(self._values)

    def add(self, document: Fingerprint) -> None:
        self._values.append(document.value())
        self._is_sorted = False
        self.longest = max(self.longest, document.num_bytes)

    def __contains__(self, document: Fingerprint) -> bool:
        values, wanted = self._sorted(), document.value()
        place = bisect_left(values, wanted)
        return place < len(values) and values[place] == wanted

    def count_repeats(self) -> int:
        """Return how many documents have an equal one before them."""
        values = np.frombuffer(self._sorted(), dtype=np.uint64)
        return int(np.count_nonzero(values[1:] == values[:-1])) if values.size else 0

    def _sorted(self) -> array:
        if not self._is_sorted:
            np.frombuffer(self._values, dtype=np.uint64).sort()  # in place
            self._is_sorted = True
        return self._values
