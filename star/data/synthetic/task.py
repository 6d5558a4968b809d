"""The parts of a synthetic task: settings, generators of training and test examples, and the scoring of answers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from star.data.synthetic.accuracy import epoch_accuracy, micro_accuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The sizes of one task at one difficulty. `vocab_size` counts all tokens, special and noise tokens included."""

    vocab_size: int
    seq_len: int
    train_examples: int = 12_800
    test_examples: int = 1_280
    batch_size: int = 128
    noise_vocab: int = 0  # tokens of the vocabulary that are noise
    frac_noise: float = 0.0  # of the pairs
    num_copies: int = 0  # tokens to copy
    num_pairs: int = 0  # keys with their values before the queries


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Examples:
    """Tokens to read and tokens to predict, place by place, already aligned.

    `inputs` and `targets` are int64 (N, T); a target of IGNORED asks for nothing.
    """

    inputs: np.ndarray
    targets: np.ndarray


Draw = Callable[[Setting, np.random.Generator, int], Examples]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticTask:
    """A task. `train` and `test` draw so many examples of a setting, equal ones from generators in equal states.

    What is minimised is 1 - accuracy, in `column`.
    """

    name: str
    column: str
    title: str
    baseline: Setting
    train: Draw
    test: Draw
    pools: bool = False  # all targets are read from what the model holds at the last position
    macro: bool = True  # accuracy is a mean over classes in each batch; else over all that is asked
    least_vocab: int = 4  # of a proxy
    least_len: int = 4

    def accuracy(self, setting: Setting, predicted: np.ndarray, targets: np.ndarray, num_classes: int) -> float:
        """Return the score in [0, 1] of predicted tokens (N, T), each below num_classes: the model's vocabulary."""
        if self.macro:
            return epoch_accuracy(predicted, targets, num_classes, setting.batch_size)
        return micro_accuracy(predicted, targets)


def shifted(tokens: np.ndarray, wanted: np.ndarray) -> Examples:
    """Return inputs tokens[:, :-1] and targets wanted[:, 1:], for a model that predicts the next token."""
    return Examples(inputs=tokens[:, :-1].copy(), targets=wanted[:, 1:].copy())


def distinct(rng: np.random.Generator, low: int, high: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return integers of [low, high), int64 of that shape, which differ along the last axis, in random order.

    Floyd's sampling (Bentley and Floyd 1987), which needs no list of all the integers, and then a permutation.
    """
    count = shape[-1]
    assert count <= high - low, "more integers are asked for than there are"
    drawn = np.empty(shape, dtype=np.int64)
    for i in range(count):
        top = high - count + i
        candidate = rng.integers(low, top + 1, shape[:-1])
        taken = (drawn[..., :i] == candidate[..., None]).any(axis=-1)
        drawn[..., i] = np.where(taken, top, candidate)
    return rng.permuted(drawn, axis=-1)
