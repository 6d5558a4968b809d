"""The power laws of Kaplan et al. 2020 (arXiv:2001.08361), in non-embedding parameters."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from star.laws.runs import Amount, Runs

PF_DAY = 8.64e19  # FLOPs


@dataclass(frozen=True)
class Kaplan:
    """L(N, D) = ((N_c / N)^(alpha_N / alpha_D) + D_c / D)^alpha_D, with N in non-embedding parameters."""

    N_c: float
    D_c: float
    alpha_N: float
    alpha_D: float

    def loss(self, params: Amount, tokens: Amount) -> Any:
        """Return the loss at N non-embedding parameters and D tokens, numbers or arrays."""
        return ((self.N_c / params) ** (self.alpha_N / self.alpha_D) + self.D_c / tokens) ** self.alpha_D

    def predict(self, runs: Runs) -> np.ndarray:
        """Return the loss of each run."""
        return self.loss(runs.params, runs.tokens)

    @staticmethod
    def from_vector(x: np.ndarray) -> "Kaplan":
        """Return the law of x = (log N_c, log D_c, alpha_N, alpha_D)."""
        return Kaplan(float(np.exp(x[0])), float(np.exp(x[1])), float(x[2]), float(x[3]))

    def to_vector(self) -> np.ndarray:
        """Return x = (log N_c, log D_c, alpha_N, alpha_D)."""
        return np.array([np.log(self.N_c), np.log(self.D_c), self.alpha_N, self.alpha_D])


@dataclass(frozen=True)
class PowerLaw:
    """L(X) = (X_c / X)^alpha of one quantity alone, when no other limits the loss."""

    X_c: float
    alpha: float

    def loss(self, amount: Amount) -> Any:
        """Return the loss at an amount of the quantity."""
        return (self.X_c / amount) ** self.alpha


@dataclass(frozen=True)
class KaplanOptimum:
    """N and D that are best for C, by the power laws of Kaplan et al. 2020, table 6, C in PF-days of 8.64e19 FLOPs.

    The table assumes training far below the critical batch size, and 6 N D is not C: it is 1.81 C at any C.
    """

    N_scale: float = 1.3e9
    N_exponent: float = 0.73
    D_scale: float = 2e10
    D_exponent: float = 0.27

    def params(self, flops: float) -> float:
        """Return the best number of non-embedding parameters."""
        return self.N_scale * (flops / PF_DAY) ** self.N_exponent

    def tokens(self, flops: float) -> float:
        """Return the tokens of one epoch at the best size."""
        return self.D_scale * (flops / PF_DAY) ** self.D_exponent
