"""The law of over-training of Gadre et al. 2024 (arXiv:2403.08540)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from star.laws.chinchilla import LEAST_LOG, Chinchilla
from star.laws.optimum import Optimum
from star.laws.runs import Amount, Runs


@dataclass(frozen=True)
class OverTraining:
    """L(C, M) = E + (a M^eta + b M^-eta) C^-eta, with M = D / N tokens per parameter and C = 6 N D.

    It is the law of Chinchilla with alpha = beta = 2 eta, so that the best M is the same at every C.
    """

    E: float
    a: float
    b: float
    eta: float

    def loss(self, params: Amount, tokens: Amount) -> Any:
        """Return the loss at N parameters and D tokens, numbers or arrays."""
        ratio, flops = tokens / params, 6 * params * tokens
        return self.E + (self.a * ratio**self.eta + self.b * ratio**-self.eta) * flops**-self.eta

    def predict(self, runs: Runs) -> np.ndarray:
        """Return the loss of each run."""
        return self.loss(runs.params, runs.tokens)

    @staticmethod
    def from_chinchilla(law: Chinchilla) -> "OverTraining":
        """Return this form of a law whose alpha and beta are equal, or the mean of them."""
        eta = (law.alpha + law.beta) / 4
        return OverTraining(law.E, law.A * 6**eta, law.B * 6**eta, eta)

    @property
    def chinchilla(self) -> Chinchilla:
        """This law in N and D."""
        return Chinchilla(self.E, self.a * 6**-self.eta, self.b * 6**-self.eta, 2 * self.eta, 2 * self.eta)

    def optimum(self, flops: float) -> Optimum:
        """Return N, D and the loss that are lowest at C = 6 N D FLOPs."""
        return self.chinchilla.optimum(flops)

    @staticmethod
    def features(runs: Runs) -> np.ndarray:
        """Return the features of the three terms over x = (log E, log a, log b, eta): see `sums`."""
        features = np.zeros((3, len(runs), 4))
        features[0, :, 0] = features[1, :, 1] = features[2, :, 2] = 1
        features[1, :, 3] = -np.log(6) - 2 * np.log(runs.params)
        features[2, :, 3] = -np.log(6) - 2 * np.log(runs.tokens)
        return features

    @staticmethod
    def from_vector(x: np.ndarray) -> "OverTraining":
        """Return the law of x = (log E, log a, log b, eta)."""
        return OverTraining(*map(float, [*np.exp(x[:3]), x[3]]))

    def to_vector(self) -> np.ndarray:
        """Return x = (log E, log a, log b, eta)."""
        return np.array([*(np.log(one) if one > 0 else LEAST_LOG for one in (self.E, self.a, self.b)), self.eta])
