"""Reproduce what was read: selective copying and compression (Poli et al. 2024, arXiv:2403.17844)."""

import numpy as np

from star.data.synthetic.accuracy import IGNORED
from star.data.synthetic.task import Examples, Setting


def selective_copying(setting: Setting, rng: np.random.Generator, count: int) -> Examples:
    """Generate n tokens of [0, V - 2) among blanks V - 2, then the copy token V - 1, then n blanks for the answers.

    The targets are the tokens in their order, at those places, in training too. Each blank among the tokens stands
    before one of them, any with the same probability, so that none follows the last. Both are (count, L).
    """
    blank, copies = setting.vocab_size - 2, setting.num_copies
    spare = setting.seq_len - 2 * copies - 1
    assert spare > 0, "no room for blanks"
    tokens = rng.integers(0, blank, (count, copies))
    before = rng.multinomial(spare, np.full(copies, 1 / copies), size=count)
    inputs = np.full((count, setting.seq_len), blank)
    np.put_along_axis(inputs, before.cumsum(axis=1) + np.arange(copies), tokens, axis=1)
    inputs[:, -copies - 1] = setting.vocab_size - 1
    targets = np.full_like(inputs, IGNORED)
    targets[:, -copies:] = tokens
    return Examples(inputs=inputs, targets=targets)


def compression(setting: Setting, rng: np.random.Generator, count: int) -> Examples:
    """Generate L - 1 tokens of [0, V - 1) and the token V - 1; the targets are the inputs, including that last token.

    Every target is to be decoded from the last position, given only which place is asked for. Both are (count, L).
    """
    inputs = rng.integers(0, setting.vocab_size - 1, (count, setting.seq_len))
    inputs[:, -1] = setting.vocab_size - 1
    return Examples(inputs=inputs, targets=inputs.copy())
