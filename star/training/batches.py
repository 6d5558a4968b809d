"""Batches to train on: windows of a text."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from star.architecture.scales import Recipe
from star.data.corpus import Stretch

Mixture = Sequence[Stretch]  # of a text; none: it is one


class Source(Protocol):
    """A source of training batches.

    Attributes:
        bytes_per_token: of the text that the tokens stand for.
    """

    bytes_per_token: float

    def batch(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return tokens to read and tokens to predict, integers (B, T) each; a target of -100 is ignored."""
        ...


class Windows:
    """Random windows of a text: a Source.

    With a mixture each window lies in one part, which is drawn with a probability in proportion to its weight.
    """

    def __init__(self, text: np.ndarray, recipe: Recipe, mixture: Mixture = (), bytes_per_token: float = 1.0) -> None:
        self.bytes_per_token = bytes_per_token
        self._text = text
        self._size = recipe.batch_size
        self._len = recipe.seq_len
        parts = mixture or [Stretch(range(text.size), 1.0)]
        self._starts = np.array([part.tokens.start for part in parts])
        self._stops = np.array([part.tokens.stop for part in parts]) - self._len
        weights = np.array([part.weight for part in parts])
        self._shares = weights / weights.sum()

    def batch(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return windows at random places of the text."""
        if self._shares.size == 1:
            return self.at(rng.integers(self._starts[0], self._stops[0], self._size))
        parts = rng.choice(self._shares.size, self._size, p=self._shares)
        return self.at(rng.integers(self._starts[parts], self._stops[parts]))

    def at(self, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the windows that begin at these places."""
        tokens = self._text[starts[:, None] + np.arange(self._len + 1)]
        return tokens[:, :-1], tokens[:, 1:]
