"""How the steps of a training are computed: at once or in parts, compiled or not, in one process or in several."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from star.architecture.scales import Recipe
from star.model.language_model import LanguageModel
from star.model.operators.routed import Routed


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How the steps of a training are computed. What they compute stays the same, but for rounding.

    Attributes:
        micro_batch: sequences of one forward pass, whose gradients are accumulated; 0: the whole batch of a process.
        recomputes: whether the activations inside a slot are computed again in the backward pass and not kept (Chen et
            al. 2016, arXiv:1604.06174).
        compiles: whether torch.compile makes the model.
        captures: whether the forward and the backward pass are captured once as CUDA graphs, which every step replays.
            Models with experts, whose shapes depend on the tokens, and batches in parts are computed step by step.
        rank, world: the number of this process, and how many there are; a batch is divided among them.
    """

    micro_batch: int = 0
    recomputes: bool = False
    compiles: bool = False
    captures: bool = False
    rank: int = 0
    world: int = 1

    def wrap(self, model: LanguageModel, recipe: Recipe) -> nn.Module:
        """Return a module that computes what the model does, with its parameters."""
        if self.recomputes:
            for layer in model.layers:
                layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
        wrapped: nn.Module = model
        if self.compiles:
            wrapped = torch.compile(model)  # pyright: ignore[reportAssignmentType]: it is a module, if given one
        if self.captures and not self.micro_batch and not any(isinstance(one, Routed) for one in model.modules()):
            wrapped = _capture(model, recipe)
        if self.world > 1:
            # Buffers are computed alike everywhere, or summed by `sum_over_processes`.
            wrapped = DistributedDataParallel(wrapped, broadcast_buffers=False)
        return wrapped

    def parts(self, inputs: np.ndarray, targets: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, float, bool]]:
        """Yield inputs and targets of each forward pass of this process, its share of the gradient, and whether it is
        the last."""
        each = len(inputs) // self.world
        first, end = self.rank * each, (self.rank + 1) * each
        size = self.micro_batch or each
        for start in range(first, end, size):
            stop = min(start + size, end)
            yield inputs[start:stop], targets[start:stop], (stop - start) / each, stop == end

    def accumulating(self, wrapped: nn.Module, is_last: bool) -> AbstractContextManager:
        """Return the context of a backward pass whose gradients are not averaged over processes yet, unless it is the
        last of a step."""
        return nullcontext() if is_last or self.world == 1 else wrapped.no_sync()  # type: ignore[operator]

    def mean_over_processes(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over all processes."""
        return self.sum_over_processes(value) / self.world if self.world > 1 else value

    def sum_over_processes(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        if self.world > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value


def _capture(model: LanguageModel, recipe: Recipe) -> nn.Module:
    """Return the model with passes over batches of a recipe as CUDA graphs. It computes in training mode alone by them;
    in evaluation mode as before."""
    device = next(model.parameters()).device
    sample = torch.zeros(recipe.batch_size, recipe.seq_len, dtype=torch.long, device=device)
    model.train()
    # Without a cache of cast weights, which would be made outside of the graph.
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.dtype == "bfloat16", cache_enabled=False):
        return torch.cuda.make_graphed_callables(model, (sample,), allow_unused_input=True)  # type: ignore[return-value]: a module, if given one
