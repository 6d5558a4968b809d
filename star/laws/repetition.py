"""The law of repeated data of Muennighoff et al. 2023 (Scaling data-constrained language models, arXiv:2305.16264)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from star.laws.chinchilla import Chinchilla
from star.laws.runs import Amount, Runs


@dataclass(frozen=True)
class DataConstrained:
    """The law of Chinchilla in effective numbers of parameters and tokens, of which repeated ones count less and less.

    D' = U + U R_D (1 - exp(-R / R_D)) with U unique tokens and R = D / U - 1 repetitions, and N' likewise with U_N, the
    size that is best for U tokens.
    """

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    R_N: float
    R_D: float

    def loss(self, params: Amount, tokens: Amount, unique_tokens: Amount = np.inf) -> Any:
        """Return the loss at N parameters and D tokens of which U are distinct, numbers or arrays."""
        scale = (self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta))
        unique = np.minimum(unique_tokens, tokens)
        needed = np.minimum(params, (unique * scale) ** (self.beta / self.alpha) * scale)
        effective_params = _diminish(params, needed, self.R_N)
        effective_tokens = _diminish(tokens, unique, self.R_D)
        return self.E + self.A / effective_params**self.alpha + self.B / effective_tokens**self.beta

    def predict(self, runs: Runs) -> np.ndarray:
        """Return the loss of each run."""
        return self.loss(runs.params, runs.tokens, np.inf if runs.unique_tokens is None else runs.unique_tokens)

    @property
    def once(self) -> Chinchilla:
        """The law of tokens that are seen once."""
        return Chinchilla(self.E, self.A, self.B, self.alpha, self.beta)

    @staticmethod
    def from_vector(x: np.ndarray) -> "DataConstrained":
        """Return the law of x = (log E, log A, log B, alpha, beta, log R_N, log R_D)."""
        return DataConstrained(*map(float, np.exp(x[:3])), *map(float, x[3:5]), *map(float, np.exp(x[5:])))

    def to_vector(self) -> np.ndarray:
        """Return x = (log E, log A, log B, alpha, beta, log R_N, log R_D)."""
        return np.concatenate([self.once.to_vector(), np.log([self.R_N, self.R_D])])


def _diminish(amount: Any, unique: Any, half_life: float) -> Any:
    repeated = amount / unique - 1
    return unique * (1 + half_life * -np.expm1(-repeated / half_life))
