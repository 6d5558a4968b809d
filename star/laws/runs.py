"""Trained models as a scaling law sees them: parameters, tokens, loss, and what else some laws need."""

from dataclasses import dataclass, fields, replace

import numpy as np

Amount = float | np.ndarray
CONVENTIONS = ("total", "non-embedding")


@dataclass(frozen=True, kw_only=True, eq=False)
class Runs:
    """Runs in arrays of shape [runs]; columns that a table does not have are None.

    Attributes:
        params: N, counted by `convention`; of a mixture of experts all of its parameters.
        tokens: D, training tokens, repeated ones counted each time.
        loss: nats per token.
        flops: of the training; 6 N D where None.
        unique_tokens: U, distinct training tokens.
        active_params: parameters that one token uses.
        experts: experts of a layer, 1 in a dense model.
        granularity: width of a dense feed-forward layer over that of an expert.
        convention: "total" (Hoffmann et al. 2022) or "non-embedding" (Kaplan et al. 2020).
    """

    params: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray
    flops: np.ndarray | None = None
    unique_tokens: np.ndarray | None = None
    active_params: np.ndarray | None = None
    experts: np.ndarray | None = None
    granularity: np.ndarray | None = None
    convention: str = "total"

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def used_params(self) -> np.ndarray:
        """The parameters that one token uses: all of them in a dense model."""
        return self.params if self.active_params is None else self.active_params

    @property
    def budgets(self) -> np.ndarray:
        """Training FLOPs of each run: those of the table, else 6 N D with the parameters that one token uses."""
        return self.flops if self.flops is not None else 6 * self.used_params * self.tokens

    def take(self, rows: np.ndarray) -> "Runs":
        """Return the runs of these row numbers or of a mask."""
        arrays = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "convention"}
        return replace(self, **{name: None if value is None else value[rows] for name, value in arrays.items()})

    def without_highest(self, number: int) -> "Runs":
        """Return the runs without those of the highest losses, in the order of the table."""
        return self.take(np.sort(np.argsort(self.loss, kind="stable")[: len(self) - number]))
