"""What an operator keeps between two decoded tokens: the cache, seen from one operator.

Three kinds of tensor: the *history* of a feature, one row a token; the last *columns* that a short kernel sees; the
*state* of a recurrence. Where slots share features, one keeps what all of them need and the others look there.
"""

from typing import NamedTuple

import torch

from star.errors import UserError
from star.model.ops.shapes import BTD


class CacheTensor(NamedTuple):
    """One tensor to keep: its shape without the batch, and the roles whose features alone determine it ("" if it is
    the operator's own affair)."""

    shape: tuple[int, ...]
    roles: str = ""


def count_columns(taps: int, kept_taps: int) -> int:
    """How many columns a short kernel keeps: one for each tap, or as many as a scale says. UserError if too few."""
    if 0 < kept_taps < taps - 1:
        raise UserError(
            f"kept_taps is {kept_taps}, but a kernel of {taps} taps needs {taps - 1} columns before a token"
        )
    return kept_taps or taps


class OperatorCache:
    """The tensors that one operator keeps, by name, each (B, ...); zero before the first token.

    Args:
        tensors: those that it keeps itself.
        keepers: name -> the memory of an earlier slot that keeps this one in our place.
    """

    def __init__(self, tensors: dict[str, torch.Tensor], keepers: dict[str, "OperatorCache"]) -> None:
        self.tensors = tensors
        self.keepers = keepers
        for name, keeper in keepers.items():
            keeper.is_read.add(name)
        self.position = 0  # tokens that came before those of the present pass
        self.is_read: set[str] = set()  # names that later slots look up here
        self.before: dict[str, torch.Tensor] = {}  # what the present pass found, for them

    def begin(self, position: int) -> None:
        """A new pass begins, over the tokens from `position` on."""
        self.position = position

    def end(self) -> None:
        """The pass is over: nothing stays but what is kept."""
        self.before.clear()

    def extend(self, name: str, new: BTD) -> torch.Tensor:
        """The tokens kept so far that the present ones may need, and the present ones, which are kept too."""
        if name in self.keepers:
            return self.keepers[name].before[name]
        kept, end = self.tensors[name], self.position + new.shape[1]
        if end <= kept.shape[1]:
            kept[:, self.position : end] = new
            history = kept[:, :end]
        else:  # more tokens than fit: the oldest go
            history = torch.cat((kept[:, : self.position], new), dim=1)
            kept.copy_(history[:, -kept.shape[1] :])
        return self._show(name, history)

    def slide(self, name: str, new: BTD, taps: int) -> torch.Tensor:
        """The present tokens after the columns before them: as many as `taps`, less one; zeros at first."""
        if name in self.keepers:
            return self.keepers[name].before[name]
        kept = self.tensors[name]
        columns = torch.cat((kept, new), dim=1)
        kept.copy_(columns[:, -kept.shape[1] :])
        return self._show(name, columns[:, kept.shape[1] + 1 - taps :])

    def state(self, name: str) -> torch.Tensor:
        """The state before the present tokens."""
        if name in self.keepers:
            return self.keepers[name].before[name]
        state = self.tensors[name]
        return self._show(name, state.clone()) if name in self.is_read else state

    def keep_state(self, name: str, state: torch.Tensor) -> None:
        """Keep the state after the present tokens, unless an earlier slot does."""
        if name not in self.keepers:
            self.tensors[name].copy_(state)

    def _show(self, name: str, found: torch.Tensor) -> torch.Tensor:
        if name in self.is_read:
            self.before[name] = found
        return found


def start_state(memory: OperatorCache | None, like: torch.Tensor, *shape: int) -> torch.Tensor:
    """The state (B, *shape) before the present tokens: what is remembered, or zeros of the type of `like` (B, ...)."""
    return like.new_zeros(like.shape[0], *shape) if memory is None else memory.state("state")
