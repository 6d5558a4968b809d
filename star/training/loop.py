"""The training loop, of proxies and of whole trainings."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from star.architecture.scales import Recipe
from star.model.language_model import LanguageModel
from star.model.operators.routed import Routed
from star.records import Arrays
from star.training.batches import Source
from star.training.execution import Execution
from star.training.loss import cross_entropy, finite
from star.training.optimizers import make_optimizers, update
from star.training.schedule import curve_mark, schedule

BALANCE_WEIGHT = 1e-2  # of the auxiliary loss (Fedus et al. 2021, arXiv:2101.03961)
ONE_PROCESS = Execution()


class Training:
    """A training that can pause after any step, and continues bit for bit from `state`.

    `model` is trained in place on the device where it is. The same model, source, recipe, seed and number of threads
    give the same bits, however often it paused. Experts are balanced as the recipe says; their auxiliary loss is not in
    the curve. A training whose schedule needs no end may go on beyond the steps of its recipe.

    With `average` = g > 0 in the recipe an average of the weights w is kept, in which those after step s count about
    in proportion to s^g (Karras et al. 2024, arXiv:2312.02696): a_t = a_(t-1) + (1 - (1 - 1/t)^(g+1)) (w_t - a_(t-1)).
    It takes the place of a decay of the rate, after any number of steps.

    Args:
        execution: how steps are computed.
        closes: whether a stretch of the loss curve ends by itself, after each 32nd of a recipe, or by `close_stretch`.
    """

    def __init__(
        self,
        model: LanguageModel,
        source: Source,
        recipe: Recipe,
        seed: int,
        execution: Execution = ONE_PROCESS,
        closes: bool = True,
    ) -> None:
        self.model, self.step = model, 0
        self._source, self._recipe, self._execution = source, recipe, execution
        self._closes = closes
        self._forward = execution.wrap(model, recipe)
        self._rng = np.random.default_rng(seed)
        self._optimizers = make_optimizers(model, recipe)
        self._params = list(model.parameters())
        self._average = [param.detach().clone() for param in self._params] if recipe.average else []
        self._experts = [module for module in model.modules() if isinstance(module, Routed)]
        self._curve: list[float] = []
        self._clear()

    @property
    def curve(self) -> tuple[float, ...]:
        """The training loss in bits per byte over each complete stretch."""
        return tuple(self._curve)

    @property
    def tokens(self) -> int:
        """The tokens trained on so far."""
        return self.step * self._recipe.batch_size * self._recipe.seq_len

    def advance(self, stop: int) -> None:
        """Train until `stop` steps are done. Raise Diverged if a loss or a gradient is not finite."""
        self.model.train()
        while self.step < stop:
            self._advance()
            if self._closes and self.step == self._end_of(len(self._curve)):
                self.close_stretch()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the average of the weights, where one is kept, into the model, and the latest ones back in the end."""
        latest = [param.detach().clone() for param in self._params]
        self.use_average()
        try:
            yield
        finally:
            self._load(latest)

    def use_average(self) -> None:
        """Put the average of the weights, where one is kept, into the model for good: it cannot be trained on."""
        self._load(self._average or self._params)

    @torch.no_grad()
    def _load(self, values: list[Tensor]) -> None:
        torch._foreach_copy_(self._params, values)

    def state(self) -> Arrays:
        """Return everything that the rest of the training depends on. All processes of a training must call it."""
        self._losses = self._execution.mean_over_processes(self._losses)
        arrays = {f"weight.{name}": _to_array(value) for name, value in self.model.weights().items()}
        arrays |= {f"average.{i}": _to_array(value) for i, value in enumerate(self._average)}
        for i, optimizer in enumerate(self._optimizers):
            for index, values in optimizer.state_dict()["state"].items():
                arrays |= {f"optimizer.{i}.{index}.{name}": _to_array(value) for name, value in values.items()}
        progress = {"step": self.step, "curve": self._curve, "rng": self._rng.bit_generator.state}
        if not self._closes:
            progress["first"] = self._first
        arrays["sums"] = _to_array(torch.stack([self._losses, self._norms]))
        arrays["progress"] = np.frombuffer(json.dumps(progress).encode(), dtype=np.uint8)
        return arrays

    @torch.no_grad()
    def restore(self, arrays: Arrays) -> None:
        """Continue from the state of a training of the same model, recipe and seed."""
        for name, value in self.model.weights().items():
            value.copy_(torch.from_numpy(arrays[f"weight.{name}"]))
        for i, value in enumerate(self._average):
            value.copy_(torch.from_numpy(arrays[f"average.{i}"]))
        for i, optimizer in enumerate(self._optimizers):
            saved: dict[int, dict[str, Tensor]] = {}
            for key in arrays:
                if key.startswith(f"optimizer.{i}."):
                    index, name = key.split(".")[2:]
                    saved.setdefault(int(index), {})[name] = torch.from_numpy(arrays[key].copy())
            optimizer.load_state_dict(optimizer.state_dict() | {"state": saved})
        progress = json.loads(arrays["progress"].tobytes())
        self.step, self._curve = progress["step"], progress["curve"]
        self._first = progress.get("first", self._end_of(len(self._curve) - 1) if self._curve else 0)
        self._rng.bit_generator.state = progress["rng"]
        self._losses, self._norms = torch.from_numpy(arrays["sums"].copy()).to(self._losses.device).unbind()

    def _advance(self) -> None:
        self._losses = self._losses + self._backward(*self._source.batch(self._rng))
        self._norms = self._norms + nn.utils.clip_grad_norm_(self._params, self._recipe.clip)
        update(self._optimizers, schedule(self.step, self._recipe))
        self._rebalance()
        self.step += 1
        if self._average:
            share = 1 - (1 - 1 / self.step) ** (self._recipe.average + 1)
            with torch.no_grad():
                torch._foreach_lerp_(self._average, self._params, share)

    def _backward(self, inputs: np.ndarray, targets: np.ndarray) -> Tensor:
        """Add up the gradients of a batch, and return its loss, as far as it is this process's."""
        total = torch.zeros((), device=self._params[0].device)
        for part, wanted, share, is_last in self._execution.parts(inputs, targets):
            with self._execution.accumulating(self._forward, is_last):
                loss = cross_entropy(self._forward, part, wanted, self._recipe.dtype)
                balanced = _add_balance(loss, self._experts, self._recipe)
                (balanced if share == 1 else balanced * share).backward()
            total = total + loss.detach() * share
        return total

    def _rebalance(self) -> None:
        if self._recipe.balance == "bias":
            for module in self._experts:
                module.load.copy_(self._execution.sum_over_processes(module.load))
                module.rebalance(self._recipe.balance_rate)

    def close_stretch(self) -> None:
        """End a stretch of the loss curve. Raise Diverged if a loss or a gradient in it was not finite."""
        finite(self._norms.item(), f"norm of the gradient by step {self.step}")
        loss = self._execution.mean_over_processes(self._losses).item() / (self.step - self._first)
        mean = finite(loss, f"training loss by step {self.step}")
        self._curve.append(mean / math.log(2) / self._source.bytes_per_token)
        self._clear()

    def _end_of(self, stretch: int) -> int:
        return curve_mark(stretch, self._recipe.steps)

    def _clear(self) -> None:
        self._first = self.step  # after which the stretch begins
        # Sums stay on the device: looking at one number each step would make it wait for us.
        self._losses = self._norms = torch.zeros((), device=self._params[0].device)


def _to_array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()


def _add_balance(loss: Tensor, experts: list[Routed], recipe: Recipe) -> Tensor:
    losses = [module.balance_loss for module in experts if module.balance_loss is not None]
    if not losses or recipe.balance != "loss":
        return loss
    return loss + BALANCE_WEIGHT * torch.stack(losses).mean()
