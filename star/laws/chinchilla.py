"""The law of Hoffmann et al. 2022 (Chinchilla, arXiv:2203.15556)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from star.laws.optimum import Optimum
from star.laws.runs import Amount, Runs

LEAST_LOG = -60.0  # of a coefficient that is 0


@dataclass(frozen=True)
class Chinchilla:
    """L(N, D) = E + A / N^alpha + B / D^beta, in nats per token."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def loss(self, params: Amount, tokens: Amount) -> Any:
        """Return the loss at N parameters and D tokens, numbers or arrays."""
        return self.E + self.A / params**self.alpha + self.B / tokens**self.beta

    def predict(self, runs: Runs) -> np.ndarray:
        """Return the loss of each run."""
        return self.loss(runs.params, runs.tokens)

    @property
    def params_exponent(self) -> float:
        """The exponent a of the compute-optimal N ~ C^a."""
        return self.beta / (self.alpha + self.beta)

    def optimum(self, flops: float) -> Optimum:
        """Return N, D and the loss that are lowest at C = 6 N D FLOPs: N = G (C / 6)^a with
        G = (alpha A / (beta B))^(1 / (alpha + beta))."""
        scale = (self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta))
        params = scale * (flops / 6) ** self.params_exponent
        tokens = flops / 6 / params
        return Optimum(flops, params, tokens, float(self.loss(params, tokens)))

    @staticmethod
    def features(runs: Runs) -> np.ndarray:
        """Return the features of the three terms over x = (log E, log A, log B, alpha, beta): see `sums`."""
        features = np.zeros((3, len(runs), 5))
        features[0, :, 0] = features[1, :, 1] = features[2, :, 2] = 1
        features[1, :, 3] = -np.log(runs.params)
        features[2, :, 4] = -np.log(runs.tokens)
        return features

    @staticmethod
    def from_vector(x: np.ndarray) -> "Chinchilla":
        """Return the law of x = (log E, log A, log B, alpha, beta)."""
        return Chinchilla(*map(float, np.exp(x[:3])), *map(float, x[3:]))

    def to_vector(self) -> np.ndarray:
        """Return x = (log E, log A, log B, alpha, beta)."""
        logs = [float(np.log(one)) if one > 0 else LEAST_LOG for one in (self.E, self.A, self.B)]
        return np.array([*logs, self.alpha, self.beta])
