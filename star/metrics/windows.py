"""Documents cut into windows of a model's context, in batches.

Of a document t_1 ... t_n, with t_0 the token before it, window k = 0, 1, ... reads t_{kS} ... t_{min(kS + T, n) - 1}
and predicts the token after each of them; T is the context and S the stride. A token counts in the first window that
predicts it, so that every token of a document counts once. By default S = T: windows do not overlap. With S < T each
token that the first window does not predict is predicted from more than T - S tokens.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from star.data.synthetic import IGNORED
from star.metrics.documents import Document

BLOCK = 32  # batches whose windows are sorted by length, so that few places of a batch are empty


class Windowing(NamedTuple):
    """The tokens of a window, and those between the beginnings of two."""

    context: int
    stride: int


class Window(NamedTuple):
    """Tokens to read and tokens to predict, of which the first `known` were predicted in an earlier window."""

    document: int
    inputs: np.ndarray
    targets: np.ndarray
    known: int


class Batch(NamedTuple):
    """Windows of one pass, filled up behind: inputs and targets (B, T), and the document of each row.

    A target of IGNORED is none, or was predicted in an earlier window.
    """

    documents: np.ndarray
    inputs: np.ndarray
    targets: np.ndarray


def cut(documents: Iterable[Document], start: int, windowing: Windowing) -> Iterator[Window]:
    """Yield the windows of documents, each of which follows the token `start`."""
    context, stride = windowing
    for number, document in enumerate(documents):
        tokens = np.concatenate(([start], document.tokens)).astype(np.int64)
        size, done = document.tokens.size, 0
        for begin in range(0, size, stride):
            end = min(begin + context, size)
            yield Window(number, tokens[begin:end], tokens[begin + 1 : end + 1], done - begin)
            done = end
            if end == size:
                break


def gather(windows: Iterable[Window], rows: int) -> Iterator[Batch]:
    """Yield batches of at most `rows` windows; those of nearly equal length come together."""
    held: list[Window] = []
    for window in windows:
        held.append(window)
        if len(held) == rows * BLOCK:
            yield from _batches(held, rows)
            held = []
    yield from _batches(held, rows)


def _batches(windows: list[Window], rows: int) -> Iterator[Batch]:
    windows = sorted(windows, key=lambda one: -one.inputs.size)
    for first in range(0, len(windows), rows):
        yield _pad(windows[first : first + rows])


def _pad(windows: list[Window]) -> Batch:
    width = max(one.inputs.size for one in windows)
    inputs = np.zeros((len(windows), width), dtype=np.int64)
    targets = np.full_like(inputs, IGNORED)
    for row, one in enumerate(windows):
        inputs[row, : one.inputs.size] = one.inputs
        targets[row, one.known : one.targets.size] = one.targets[one.known :]
    return Batch(np.array([one.document for one in windows]), inputs, targets)
