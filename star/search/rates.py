"""Rates of operators that follow what they achieved: adaptive pursuit.

Adaptive pursuit (Thierens 2005, "An adaptive pursuit strategy for allocating operator probabilities"): of K settings,
setting a has a quality Q_a, a running mean of its rewards, and a probability P_a of being drawn,

    Q_a <- Q_a + alpha (reward - Q_a)            for the setting a that was rewarded,
    P_b <- P_b + beta (target_b - P_b)           for all b: target P_max for the best quality, P_min for the others,

with P_max = 1 - (K - 1) P_min. A reward is 1 for a child that entered the population and 0 for one that did not.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from star.architecture.genome import Space

FACTORS = (0.5, 1.0, 2.0)  # times the mutation probabilities of the space
QUALITY_RATE = 0.1  # alpha: the paper's 0.8 follows rewards that carry less noise than one child's survival
PURSUIT_RATE = 0.1  # beta
LEAST = 0.1  # P_min

State = dict[str, dict[str, list[float]]]


class Setting(NamedTuple):
    """The way offspring are made: an index into FACTORS, and whether two parents are crossed."""

    factor: int
    crossed: bool


class Pursuit:
    """Probabilities of `number` settings; see the equations above."""

    def __init__(self, number: int, quality: list[float] | None = None, probability: list[float] | None = None) -> None:
        self.quality = quality or [1.0] * number
        self.probability = probability or [1.0 / number] * number

    def draw(self, size: int, rng: np.random.Generator) -> list[int]:
        """`size` settings, each drawn by the probabilities."""
        return np.searchsorted(np.cumsum(self.probability)[:-1], rng.random(size), side="right").tolist()

    def reward(self, setting: int, reward: float) -> None:
        self.quality[setting] += QUALITY_RATE * (reward - self.quality[setting])
        best = self.quality.index(max(self.quality))
        most = 1 - (len(self.quality) - 1) * LEAST
        for i, probability in enumerate(self.probability):
            self.probability[i] += PURSUIT_RATE * ((most if i == best else LEAST) - probability)


class Rates:
    """Two pursuits, one of the factor on mutation and one of crossover; without `crosses` there is none of these."""

    def __init__(self, crosses: bool, state: State | None = None) -> None:
        """`state` is what the method of that name returned, None in a new search."""
        kept = {"mutation": {}, "crossover": {}} if state is None else state
        self.mutation = Pursuit(len(FACTORS), **kept["mutation"])
        self.crossover = Pursuit(2, **kept["crossover"]) if crosses else None

    def draw(self, size: int, rng: np.random.Generator) -> list[Setting]:
        """One setting for each of `size` children."""
        factors = self.mutation.draw(size, rng)
        crossed = self.crossover.draw(size, rng) if self.crossover else [0] * size
        return [Setting(factor, bool(cross)) for factor, cross in zip(factors, crossed, strict=True)]

    def reward(self, setting: Setting, reward: float) -> None:
        self.mutation.reward(setting.factor, reward)
        if self.crossover:
            self.crossover.reward(int(setting.crossed), reward)

    def state(self) -> State:
        """Return all that changes, as JSON holds it."""
        return {name: vars(pursuit) for name, pursuit in vars(self).items() if pursuit}


def scaled(space: Space, factor: float) -> Space:
    """The space with its mutation probabilities times `factor`, 1 at most."""
    rates = space.rates
    mutation = {
        "backbone_mutation": min(1.0, factor * rates.backbone_mutation),
        "operator_mutation": min(1.0, factor * rates.operator_mutation),
        "featurizer_mutation": min(1.0, factor * rates.featurizer_mutation),
    }
    return replace(space, rates=replace(rates, **mutation))
