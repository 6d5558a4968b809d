"""Fuzzy in-context recall: keys and values of several tokens (Poli et al. 2024, arXiv:2403.17844).

Of the n = V - 1 tokens beside the padding V - 1, [0, n/2) make up keys and [n/2, n) values. A motif is one, two or
three different tokens in any order. A sequence is pairs of motifs, by a map of this sequence alone; the last pair
repeats an earlier one. The sequence is padded on the left.
"""

from typing import NamedTuple

import numpy as np

from star.data.synthetic.accuracy import IGNORED
from star.data.synthetic.task import Examples, Setting, distinct, shifted

LONGEST = 3  # tokens of a motif
BLOCK = 1_024  # sequences at a time, so that the longest do not fill the memory


class _Motifs(NamedTuple):
    tokens: np.ndarray  # (count, places, LONGEST)
    lengths: np.ndarray  # (count, places)

    @property
    def written(self) -> np.ndarray:
        """Whether each token belongs to the motif."""
        return np.arange(LONGEST) < self.lengths[..., None]

    def at(self, order: np.ndarray) -> "_Motifs":
        """Return the motifs at those places of their rows."""
        return _Motifs(
            np.take_along_axis(self.tokens, order[..., None], axis=1), np.take_along_axis(self.lengths, order, axis=1)
        )


def train(setting: Setting, rng: np.random.Generator, count: int) -> Examples:
    """Keys of 1 to 3 tokens; every next token is a target, padding too. Inputs and targets are (count, L)."""
    tokens, _ = _sequences(setting, rng, count, shortest=1)
    return shifted(tokens, tokens)


def test(setting: Setting, rng: np.random.Generator, count: int) -> Examples:
    """Keys of 3 tokens; the targets are all tokens of values of keys that came before. Inputs, targets (count, L)."""
    return shifted(*_sequences(setting, rng, count, shortest=LONGEST))


def _sequences(setting: Setting, rng: np.random.Generator, count: int, shortest: int) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens (count, L + 1), and a copy with IGNORED for all but values that can be known."""
    sizes = [min(BLOCK, count - start) for start in range(0, count, BLOCK)]
    blocks = [_block(setting, rng, size, shortest) for size in sizes]
    return np.concatenate([tokens for tokens, _ in blocks]), np.concatenate([wanted for _, wanted in blocks])


def _block(setting: Setting, rng: np.random.Generator, count: int, shortest: int) -> tuple[np.ndarray, np.ndarray]:
    assert setting.seq_len >= 4 * LONGEST, "no room for two pairs"
    plain, places = setting.vocab_size - 1, setting.seq_len // (1 + shortest)
    shape = (count, places)
    keys = _motifs(rng, 0, plain // 2, shape, shortest)
    first = _first_places(keys)
    values = _motifs(rng, plain // 2, plain, shape, 1).at(first)
    # As many pairs as leave room for the longest last one, which repeats any of them.
    inside = (keys.lengths + values.lengths).cumsum(axis=1) <= setting.seq_len - 2 * LONGEST
    last = rng.integers(0, inside.sum(axis=1))[:, None]
    order = np.hstack([np.broadcast_to(np.arange(places), shape), last])
    inside, known = (np.hstack([array, np.full((count, 1), True)]) for array in (inside, first < np.arange(places)))
    keys, values = keys.at(order), values.at(order)
    pairs = np.concatenate([keys.tokens, values.tokens], axis=-1)
    written = np.concatenate([keys.written, values.written], axis=-1) & inside[..., None]
    wanted = np.where(known[..., None] & (np.arange(2 * LONGEST) >= LONGEST), pairs, IGNORED)
    return _padded(pairs, written, setting, plain), _padded(wanted, written, setting, IGNORED)


def _motifs(rng: np.random.Generator, low: int, high: int, shape: tuple[int, int], shortest: int) -> _Motifs:
    """Draw lengths uniformly from `shortest` to LONGEST, then motifs of that length uniformly."""
    return _Motifs(distinct(rng, low, high, (*shape, LONGEST)), rng.integers(shortest, LONGEST + 1, shape))


def _first_places(keys: _Motifs) -> np.ndarray:
    """Return the first place in each row with the same motif, (count, places)."""
    digits = np.where(keys.written, keys.tokens + 1, 0)
    codes = digits @ (digits.max() + 1) ** np.arange(LONGEST)
    order = codes.argsort(axis=1, kind="stable")
    ordered = np.take_along_axis(codes, order, axis=1)
    starts = np.zeros_like(order)
    starts[:, 1:] = np.where(ordered[:, 1:] != ordered[:, :-1], np.arange(1, codes.shape[1]), 0)
    first = np.empty_like(order)
    np.put_along_axis(first, order, np.take_along_axis(order, np.maximum.accumulate(starts, axis=1), 1), axis=1)
    return first


def _padded(tokens: np.ndarray, written: np.ndarray, setting: Setting, filler: int) -> np.ndarray:
    """Return the written tokens (count, pairs, 2 LONGEST) in a row after as much filler as needed, (count, L + 1)."""
    width = setting.seq_len + 1
    sequences = np.full((len(tokens), width), filler)
    sequences[np.arange(width) >= width - written.sum(axis=(1, 2))[:, None]] = tokens[written]
    return sequences
