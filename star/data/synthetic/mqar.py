"""Multi-query associative recall (Arora et al. 2023, arXiv:2312.04927)."""

import numpy as np

from star.data.synthetic.accuracy import IGNORED
from star.data.synthetic.task import Examples, Setting, distinct

POWER = 0.01  # a of the law of gaps
NOTHING = 0  # the token wherever there is neither pair nor query


def mqar(setting: Setting, rng: np.random.Generator, count: int) -> Examples:
    """Generate k pairs of a key of [1, V/2) and a value of [V/2, V), all different; later each key once, as a query.

    After the pairs, every other place is a slot for a query; slot i = 1, 2, ..., (L - 2k)/2 has the weight
    a i^(a - 1), and the keys take slots in turn, in proportion to the weights of those still free. The target at a
    query is its value, which is not in the inputs again. Inputs and targets are (count, L).
    """
    pairs, length, half = setting.num_pairs, setting.seq_len, setting.vocab_size // 2
    assert length % 2 == 0 and 4 * pairs <= length < setting.vocab_size
    keys = distinct(rng, 1, half, (count, pairs))
    values = distinct(rng, half, setting.vocab_size, (count, pairs))
    inputs = np.full((count, length), NOTHING)
    inputs[:, 0 : 2 * pairs : 2] = keys
    inputs[:, 1 : 2 * pairs : 2] = values
    queries = 2 * pairs + 2 * _slots(rng, (count, length // 2 - pairs))[:, :pairs]
    np.put_along_axis(inputs, queries, keys, axis=1)
    targets = np.full_like(inputs, IGNORED)
    np.put_along_axis(targets, queries, values, axis=1)
    return Examples(inputs=inputs, targets=targets)


def _slots(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return the numbers of the slots of each row, drawn one after the other without replacement.

    By a race: exponential times at rates w finish in the order of draws in proportion to w.
    """
    weights = POWER * np.arange(1.0, shape[1] + 1) ** (POWER - 1)
    return (rng.standard_exponential(shape) / weights).argsort(axis=1)
