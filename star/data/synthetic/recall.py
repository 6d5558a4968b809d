"""In-context recall, with and without noise (Poli et al. 2024, arXiv:2403.17844).

Of n tokens that are not noise, [0, n/2) are keys and [n/2, n) are values. A sequence is L/2 pairs of a key and the
value that a map of this sequence alone gives it; the last pair has a key that came before. Noise replaces a whole pair.
"""

import numpy as np

from star.data.synthetic.accuracy import IGNORED
from star.data.synthetic.task import Examples, Setting, shifted


def train(setting: Setting, rng: np.random.Generator, count: int) -> Examples:
    """Every next token is a target. Inputs and targets are (count, L - 1)."""
    tokens, _ = _sequences(setting, rng, count)
    return shifted(tokens, tokens)


def test(setting: Setting, rng: np.random.Generator, count: int) -> Examples:
    """The targets are the values of keys that came before, at those keys. Inputs and targets are (count, L - 1)."""
    return shifted(*_sequences(setting, rng, count))


def _sequences(setting: Setting, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens (count, L), and a copy with IGNORED for all but values that can be known."""
    assert setting.seq_len % 2 == 0 and setting.seq_len >= 4
    places = setting.seq_len // 2
    plain = setting.vocab_size - setting.noise_vocab
    noisy = _noisy(setting, rng, (count, places))
    keys = rng.integers(0, plain // 2, (count, places))
    first = _first_places(keys, noisy, plain // 2)
    # The last key is any of those seen, all alike however often they were.
    keys[:, -1] = np.where(first < places, rng.random(first.shape), -1.0).argmax(axis=1)
    mapped = rng.integers(plain // 2, plain, (count, plain // 2))
    pairs = np.stack([keys, np.take_along_axis(mapped, keys, axis=1)], axis=-1)
    if setting.noise_vocab:
        noise = rng.integers(plain, setting.vocab_size, pairs.shape)
        pairs = np.where(noisy[..., None], noise, pairs)
    known = ~noisy & (np.take_along_axis(first, keys, axis=1) < np.arange(places))
    wanted = np.full_like(pairs, IGNORED)
    wanted[known, 1] = pairs[known, 1]
    return pairs.reshape(count, -1), wanted.reshape(count, -1)


def _noisy(setting: Setting, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return which pairs are noise: each with probability frac_noise, but neither the last nor one other, drawn at
    random.
    """
    noisy = rng.random(shape) < setting.frac_noise
    noisy[np.arange(shape[0]), rng.integers(0, shape[1] - 1, shape[0])] = False
    noisy[:, -1] = False
    return noisy


def _first_places(keys: np.ndarray, noisy: np.ndarray, num_keys: int) -> np.ndarray:
    """Return the first pair with that key before the last pair, or the number of pairs if there is none, (count,
    num_keys).
    """
    count, places = keys.shape
    first = np.full((count, num_keys), places)
    place = np.where(noisy, places, np.arange(places))
    np.minimum.at(first, (np.arange(count)[:, None], keys[:, :-1]), place[:, :-1])
    return first
