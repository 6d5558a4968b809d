"""Memorization of a map that never changes (Poli et al. 2024, arXiv:2403.17844)."""

from functools import lru_cache

import numpy as np

from star.data.synthetic.accuracy import IGNORED
from star.data.synthetic.task import Examples, Setting

MAP_SEED = 12_345


@lru_cache
def fixed_map(vocab_size: int) -> np.ndarray:
    """Return the value of each key, int64: of n = V - 1 tokens, [0, n/2) are keys and [n/2, n) values, each used at
    most once.

    Shuffled keys meet shuffled values; both come from the one seed, so that training and test share the map.
    """
    rng, plain = np.random.default_rng(MAP_SEED), vocab_size - 1
    keys = rng.permutation(plain // 2)
    values = rng.permutation(np.arange(plain // 2, plain))
    mapped = np.empty(keys.size, dtype=np.int64)
    mapped[keys] = values[: keys.size]
    mapped.flags.writeable = False
    return mapped


def memorization(setting: Setting, rng: np.random.Generator, count: int) -> Examples:
    """Generate keys at even places, each followed by the token V - 1, where the target is its value. Both are (count,
    L).
    """
    assert setting.seq_len % 2 == 0
    mapped = fixed_map(setting.vocab_size)
    keys = rng.integers(0, mapped.size, (count, setting.seq_len // 2))
    inputs = np.full((count, setting.seq_len), setting.vocab_size - 1)
    inputs[:, ::2] = keys
    targets = np.full_like(inputs, IGNORED)
    targets[:, 1::2] = mapped[keys]
    return Examples(inputs=inputs, targets=targets)
