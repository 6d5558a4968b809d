"""Validation losses by class of byte: those whose bigram occurred before in the window, and the rest.

A model that looks bigrams up in its window (an induction head) gains on the first class alone.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

BATCH = 32  # windows


class ClassLosses(NamedTuple):
    """Bits per byte over all bytes, over those whose bigram occurred before in the window, and over the rest."""

    all: float
    repeated: float
    new: float


def find_repeated(windows: np.ndarray) -> np.ndarray:
    """Return which targets end a bigram that occurred before in their window: (N, T) of windows (N, T + 1)."""
    bigrams = windows[:, :-1].astype(np.int64) << 32 | windows[:, 1:]
    found = np.ones(bigrams.shape, dtype=bool)
    for row, codes in zip(found, bigrams, strict=True):
        row[np.unique(codes, return_index=True)[1]] = False
    return found


@torch.no_grad()
def measure_classes(model: nn.Module, text: np.ndarray, seq_len: int, tokens: int) -> ClassLosses:
    """Return the losses of `model` on about as many tokens of `text`, in the windows of star.training.loss.measure.
    Leaves the model in evaluation mode. NaN where a class has no byte.
    """
    model.eval()
    count = max(1, min(tokens // seq_len, text.size // (seq_len + 1)))
    starts = np.arange(count) * (text.size // count)
    windows = text[starts[:, None] + np.arange(seq_len + 1)]
    losses = []
    for first in range(0, count, BATCH):
        batch = torch.from_numpy(windows[first : first + BATCH]).long()
        logits = model(batch[:, :-1])
        losses.append(F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="none"))
    bits = torch.cat(losses).double().numpy() / math.log(2)
    repeated = find_repeated(windows).flatten()
    with np.errstate(invalid="ignore"):
        means = (bits[one].sum() / np.float64(one.sum()) for one in (repeated, ~repeated))
        return ClassLosses(float(bits.mean()), *map(float, means))
