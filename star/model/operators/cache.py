"""Cache of one operator: the tensors that it stores between two decoded tokens.

Three kinds of tensor: the *history* of a feature, one row a token; the last *columns* that a short kernel sees; the
*state* of a recurrence. Of slots that share features, the first stores the tensors that all of them need; the others
read these.
"""

from typing import NamedTuple

import torch

from star.errors import UserError
from star.model.ops.shapes import BTD


class CacheTensor(NamedTuple):
    """Description of a cached tensor: its shape without the batch, and the roles of the features that determine it, or
    "" if it depends on the operator's own weights too.
    """

    shape: tuple[int, ...]
    roles: str = ""


def count_columns(taps: int, kept_taps: int) -> int:
    """Return the number of columns cached for a short kernel: one per tap, or as many as a scale says. Raise UserError
    if too few.
    """
    if 0 < kept_taps < taps - 1:
        raise UserError(
            f"kept_taps is {kept_taps}, but a kernel of {taps} taps needs {taps - 1} columns before a token"
        )
    return kept_taps or taps


class OperatorCache:
    """Cached tensors of one operator by name, each (B, ...); zero before the first token.

    Args:
        tensors: the tensors that it stores itself.
        owners: name -> the cache of an earlier slot that stores this tensor instead.
        parts: the caches of the copies of a differential operator.
    """

    def __init__(
        self,
        tensors: dict[str, torch.Tensor],
        owners: dict[str, "OperatorCache"],
        parts: tuple["OperatorCache", ...] = (),
    ) -> None:
        self.tensors = tensors
        self.owners = owners
        self.parts = parts
        for name, owner in owners.items():
            owner.is_read.add(name)
        self.position = 0  # tokens that came before those of the present pass
        self.is_read: set[str] = set()  # names that later slots look up here
        self.before: dict[str, torch.Tensor] = {}  # tensors of the present pass, for these slots

    def begin(self, position: int) -> None:
        """Start a pass over the tokens from `position` on."""
        self.position = position
        for part in self.parts:
            part.begin(position)

    def end(self) -> None:
        """End the pass and release all but the cached tensors."""
        self.before.clear()
        for part in self.parts:
            part.end()

    def extend(self, name: str, new: BTD) -> torch.Tensor:
        """Cache the present tokens, and return them after all cached ones."""
        if name in self.owners:
            return self.owners[name].before[name]
        end = self.position + new.shape[1]
        self.tensors[name][:, self.position : end] = new
        return self._show(name, self.tensors[name][:, :end])

    def roll(self, name: str, new: BTD) -> torch.Tensor:
        """Cache the present tokens in place of the oldest, and return them after the cached ones."""
        if name in self.owners:
            return self.owners[name].before[name]
        kept, end = self.tensors[name], self.position + new.shape[1]
        if end <= kept.shape[1]:
            kept[:, self.position : end] = new
            history = kept[:, :end]
        else:  # more tokens than fit: the oldest go
            history = torch.cat((kept[:, : self.position], new), dim=1)
            kept.copy_(history[:, -kept.shape[1] :])
        return self._show(name, history)

    def slide(self, name: str, new: BTD, taps: int) -> torch.Tensor:
        """Cache the present tokens, and return them after the `taps` - 1 columns before them, which
        are zero at first.
        """
        if name in self.owners:
            return self.owners[name].before[name]
        kept = self.tensors[name]
        columns = torch.cat((kept, new), dim=1)
        kept.copy_(columns[:, new.shape[1] :])
        return self._show(name, columns[:, kept.shape[1] + 1 - taps :])

    def state(self, name: str) -> torch.Tensor:
        """Return the state before the present tokens."""
        if name in self.owners:
            return self.owners[name].before[name]
        state = self.tensors[name]
        return self._show(name, state.clone()) if name in self.is_read else state

    def keep_state(self, name: str, state: torch.Tensor) -> None:
        """Store the state after the present tokens, unless an earlier slot stores it."""
        if name not in self.owners:
            self.tensors[name].copy_(state)

    def _show(self, name: str, found: torch.Tensor) -> torch.Tensor:
        if name in self.is_read:
            self.before[name] = found
        return found


def allocate(
    shapes: dict[str, tuple[int, ...]], batch_size: int, owners: dict[str, OperatorCache], like: torch.Tensor
) -> OperatorCache:
    """Return an empty cache with tensors of these shapes (without the batch), except those that `owners` store."""
    tensors = {name: like.new_zeros(batch_size, *shape) for name, shape in shapes.items() if name not in owners}
    return OperatorCache(tensors, owners)


def start_state(cache: OperatorCache | None, like: torch.Tensor, *shape: int) -> torch.Tensor:
    """Return the state (B, *shape) before the present tokens: the cached one, or zeros of the type
    of `like` (B, ...).
    """
    return like.new_zeros(like.shape[0], *shape) if cache is None else cache.state("state")
