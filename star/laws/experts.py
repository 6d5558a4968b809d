"""Laws of mixtures of experts (Krajewski et al. 2024, arXiv:2402.07871; Ludziejewski et al. 2025, arXiv:2502.05172)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from star.laws.chinchilla import Chinchilla
from star.laws.runs import Amount, Runs

E_START, E_MAX = 2.0732, 290.4521  # of Ludziejewski et al. 2025


def transform_experts(experts: Amount, start: float = E_START, most: float = E_MAX) -> Any:
    """Return E^, a number of experts that saturates (Clark et al. 2022, arXiv:2202.01169):
    1 / E^ = 1 / (E - 1 + 1 / (1 / start - 1 / most)) + 1 / most, which is `start` at one expert and `most` at infinity.
    """
    return 1 / (1 / (experts - 1 + 1 / (1 / start - 1 / most)) + 1 / most)


@dataclass(frozen=True)
class Joint:
    """L(N, D, E) = a E^^delta N^(alpha + gamma ln E^) + b E^^omega D^(beta + zeta ln E^) + c, with N active parameters
    and E^ the transformed number of experts (Ludziejewski et al. 2025, arXiv:2502.05172)."""

    a: float
    delta: float
    alpha: float
    gamma: float
    b: float
    omega: float
    beta: float
    zeta: float
    c: float

    def dense(self, experts: float = 1) -> tuple[float, float, float, float]:
        """Return (m, mu, n, nu) of L = m N^mu + n D^nu + c at a number of experts."""
        log = np.log(transform_experts(experts))
        return (
            float(self.a * np.exp(self.delta * log)),
            float(self.alpha + self.gamma * log),
            float(self.b * np.exp(self.omega * log)),
            float(self.beta + self.zeta * log),
        )

    def loss(self, params: Amount, tokens: Amount, experts: Amount = 1) -> Any:
        """Return the loss at N active parameters, D tokens and a number of experts, numbers or arrays."""
        log = np.log(transform_experts(experts))
        of_params = self.a * np.exp(self.delta * log) * params ** (self.alpha + self.gamma * log)
        of_tokens = self.b * np.exp(self.omega * log) * tokens ** (self.beta + self.zeta * log)
        return of_params + of_tokens + self.c

    def predict(self, runs: Runs) -> np.ndarray:
        """Return the loss of each run; a table without experts is one of dense models."""
        return self.loss(runs.used_params, runs.tokens, 1 if runs.experts is None else runs.experts)

    @staticmethod
    def features(runs: Runs) -> np.ndarray:
        """Return the features of the terms of N, D and c over x = (log a, delta, alpha, gamma, log b, omega, beta,
        zeta, log c): see `sums`."""
        log = np.log(transform_experts(np.ones(len(runs)) if runs.experts is None else runs.experts))
        features = np.zeros((3, len(runs), 9))
        for term, first, amount in ((0, 0, runs.used_params), (1, 4, runs.tokens)):
            size = np.log(amount)
            features[term, :, first : first + 4] = np.stack([np.ones_like(log), log, size, log * size], axis=1)
        features[2, :, 8] = 1
        return features

    @staticmethod
    def from_vector(x: np.ndarray) -> "Joint":
        """Return the law of x, ordered as its constants, those that multiply a term as logarithms."""
        return Joint(*(float(np.exp(one)) if i in (0, 4, 8) else float(one) for i, one in enumerate(x)))

    def to_vector(self) -> np.ndarray:
        """Return x, ordered as the constants, those that multiply a term as logarithms."""
        constants = (self.a, self.delta, self.alpha, self.gamma, self.b, self.omega, self.beta, self.zeta, self.c)
        return np.array([np.log(one) if i in (0, 4, 8) else one for i, one in enumerate(constants)])

    @staticmethod
    def start(law: Chinchilla) -> "Joint":
        """Return a law that does not depend on the number of experts."""
        return Joint(law.A, 0.0, -law.alpha, 0.0, law.B, 0.0, -law.beta, 0.0, law.E)


@dataclass(frozen=True)
class Granular:
    """L(N, D, G) = c + (g / G^gamma + a) / N^alpha + b / D^beta, with N total parameters at one expansion rate and the
    granularity G, the width of a dense layer over that of an expert (Krajewski et al. 2024, arXiv:2402.07871)."""

    g: float
    a: float
    b: float
    c: float
    gamma: float
    alpha: float
    beta: float

    def loss(self, params: Amount, tokens: Amount, granularity: Amount = 1) -> Any:
        """Return the loss at N parameters, D tokens and a granularity, numbers or arrays."""
        return self.c + (self.g / granularity**self.gamma + self.a) / params**self.alpha + self.b / tokens**self.beta

    def predict(self, runs: Runs) -> np.ndarray:
        """Return the loss of each run."""
        return self.loss(runs.params, runs.tokens, 1 if runs.granularity is None else runs.granularity)

    @staticmethod
    def features(runs: Runs) -> np.ndarray:
        """Return the features of the four terms over x = (log g, log a, log b, log c, gamma, alpha, beta): see
        `sums`."""
        granularity = np.ones(len(runs)) if runs.granularity is None else runs.granularity
        features = np.zeros((4, len(runs), 7))
        for term in range(4):
            features[term, :, term] = 1
        features[0, :, 4] = -np.log(granularity)
        features[0, :, 5] = features[1, :, 5] = -np.log(runs.params)
        features[2, :, 6] = -np.log(runs.tokens)
        return features

    @staticmethod
    def from_vector(x: np.ndarray) -> "Granular":
        """Return the law of x = (log g, log a, log b, log c, gamma, alpha, beta)."""
        return Granular(*map(float, np.exp(x[:4])), *map(float, x[4:]))

    def to_vector(self) -> np.ndarray:
        """Return x = (log g, log a, log b, log c, gamma, alpha, beta)."""
        return np.array([*np.log([self.g, self.a, self.b, self.c]), self.gamma, self.alpha, self.beta])

    @staticmethod
    def start(law: Chinchilla) -> "Granular":
        """Return a law in which half of the term of N depends on the granularity."""
        return Granular(law.A / 2, law.A / 2, law.B, law.E, 0.5, law.alpha, law.beta)
