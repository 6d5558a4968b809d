"""Train a proxy and measure its quality."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from star.architecture.scales import Recipe
from star.data.corpus import Corpus
from star.errors import UserError
from star.model.language_model import LanguageModel
from star.model.operators.routed import Routed
from star.records import Arrays
from star.training.muon import Muon

CURVE_POINTS = 32
BALANCE_WEIGHT = 1e-2  # of the auxiliary loss (Fedus et al. 2021, arXiv:2101.03961)


class Diverged(RuntimeError):
    """A loss or a gradient became NaN or infinite."""


class Source(Protocol):
    """A source of training batches."""

    def batch(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return tokens to read and tokens to predict, integers (B, T) each; a target of -100 is ignored."""
        ...


class Windows:
    """Random windows of a text: a Source."""

    def __init__(self, text: np.ndarray, recipe: Recipe) -> None:
        self._text = text
        self._size = recipe.batch_size
        self._len = recipe.seq_len

    def batch(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return windows at random places of the text."""
        return self.at(rng.integers(0, self._text.size - self._len, self._size))

    def at(self, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the windows that begin at these places."""
        tokens = self._text[starts[:, None] + np.arange(self._len + 1)]
        return tokens[:, :-1], tokens[:, 1:]


class Training:
    """A training that can pause after any step, and continues bit for bit from `state`.

    `model` is trained in place on the device where it is. The same model, source, recipe, seed and number of threads
    give the same bits, however often it paused. Experts are balanced as the recipe says; their auxiliary loss is not in
    the curve. A training whose schedule needs no end may go on beyond the steps of its recipe.

    With `average` = g > 0 in the recipe an average of the weights w is kept, in which those after step s count about
    in proportion to s^g (Karras et al. 2024, arXiv:2312.02696): a_t = a_(t-1) + (1 - (1 - 1/t)^(g+1)) (w_t - a_(t-1)).
    It takes the place of a decay of the rate, after any number of steps.
    """

    def __init__(self, model: LanguageModel, source: Source, recipe: Recipe, seed: int) -> None:
        self.model, self.step = model, 0
        self._source, self._recipe = source, recipe
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
            if self.step == curve_mark(len(self._curve), self._recipe.steps):
                self._close_stretch()

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
        """Return everything that the rest of the training depends on."""
        arrays = {f"weight.{name}": _to_array(value) for name, value in self.model.weights().items()}
        arrays |= {f"average.{i}": _to_array(value) for i, value in enumerate(self._average)}
        for i, optimizer in enumerate(self._optimizers):
            for index, values in optimizer.state_dict()["state"].items():
                arrays |= {f"optimizer.{i}.{index}.{name}": _to_array(value) for name, value in values.items()}
        progress = {"step": self.step, "curve": self._curve, "rng": self._rng.bit_generator.state}
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
        self._rng.bit_generator.state = progress["rng"]
        self._losses, self._norms = torch.from_numpy(arrays["sums"].copy()).to(self._losses.device).unbind()

    def _advance(self) -> None:
        loss = _loss(self.model, *self._source.batch(self._rng), self._recipe)
        _add_balance(loss, self._experts, self._recipe).backward()
        self._norms = self._norms + nn.utils.clip_grad_norm_(self._params, self._recipe.clip)
        self._losses = self._losses + loss.detach()
        _update(self._optimizers, schedule(self.step, self._recipe))
        _rebalance(self._experts, self._recipe)
        self.step += 1
        if self._average:
            share = 1 - (1 - 1 / self.step) ** (self._recipe.average + 1)
            with torch.no_grad():
                torch._foreach_lerp_(self._average, self._params, share)

    def _close_stretch(self) -> None:
        start = curve_mark(len(self._curve) - 1, self._recipe.steps) if self._curve else 0
        _finite(self._norms.item(), f"norm of the gradient by step {self.step}")
        mean = _finite(self._losses.item() / (self.step - start), f"training loss by step {self.step}")
        self._curve.append(mean / math.log(2))
        self._clear()

    def _clear(self) -> None:
        # Sums stay on the device: looking at one number each step would make it wait for us.
        self._losses = self._norms = torch.zeros((), device=self._params[0].device)


def check_corpus(corpus: Corpus, recipe: Recipe) -> None:
    """Raise UserError unless training and validation text each hold one window."""
    window = recipe.seq_len + 1
    if min(corpus.train.size, corpus.valid.size) < window:
        raise UserError(
            f"corpus {corpus.name} is too short: a window takes {window} bytes, and it has "
            f"{corpus.train.size} for training and {corpus.valid.size} for validation"
        )


def curve_mark(stretch: int, steps: int) -> int:
    """Return the step after which a stretch of a loss curve ends, counted from 0: `steps` of a recipe have 32, or as
    many as there are steps. A training that goes on has more.
    """
    return steps * (stretch + 1) // min(CURVE_POINTS, steps)


def curve_marks(steps: int) -> list[int]:
    """Return the steps after which the stretches of the loss curve of a whole recipe end."""
    return [curve_mark(stretch, steps) for stretch in range(min(CURVE_POINTS, steps))]


def schedule(step: int, recipe: Recipe) -> float:
    """Return the learning rate of step 0, 1, ... as a share of its peak: linear warm-up, then as the recipe says.

    The last step of the warm-up is at 1. A cosine ends at `recipe.final_rate`. "inverse_sqrt" stays at 1 until h steps
    are done, `recipe.hold` of all, and is sqrt(h / t) at step t from there on, beyond the last step too; with a `decay`
    it falls in the last steps, linearly to `final_rate` of that.
    """
    warm = round(recipe.warmup * recipe.steps)
    if step < warm:
        return (step + 1) / warm
    if recipe.schedule == "cosine":
        progress = (step + 1 - warm) / (recipe.steps - warm)
        return recipe.final_rate + (1 - recipe.final_rate) * (1 + math.cos(math.pi * progress)) / 2
    held, decaying = max(1, round(recipe.hold * recipe.steps)), round(recipe.decay * recipe.steps)
    progress = max(0, step + 1 - recipe.steps + decaying) / decaying if decaying else 0
    return min(1.0, math.sqrt(held / (step + 1))) * (1 - (1 - recipe.final_rate) * progress)


def make_optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Return AdamW for everything, or with "muon" Muon for the matrices of the slots and AdamW for the rest.

    A matrix, or a batch of them, is a parameter named `weight` of two or more dimensions. Matrices and the embedding
    decay; norms, biases, kernels and rates of recurrences do not: the last two may be stored in two dimensions, but
    mean a few numbers for each channel. What asks for no gradient is left alone.
    """
    decaying, plain, orthogonal = [], [], []
    for name, param in model.named_parameters():
        if not param.requires_grad:
            continue
        if param.ndim < 2 or name.rpartition(".")[2] != "weight":
            plain.append(param)
        elif recipe.optimizer == "muon" and name.startswith("layers."):
            orthogonal.append(param)
        else:
            decaying.append(param)
    groups = [
        {"params": decaying, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    # Fused, because otherwise AdamW's own Python costs more than its arithmetic at these sizes.
    adamw = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, fused=True)
    if not orthogonal:
        return [adamw]
    return [adamw, Muon(orthogonal, recipe.matrix_learning_rate, recipe.weight_decay)]


@torch.no_grad()
def measure(model: nn.Module, text: np.ndarray, recipe: Recipe, share: int = 1) -> float:
    """Return the mean cross entropy of `model` on `text` in bits per byte.

    It is measured on one part in `share` of `recipe.valid_tokens`, or all there are, in windows that do not overlap,
    evenly spaced and the same for every model. Leaves the model in evaluation mode. Raises Diverged if it is not
    finite.
    """
    model.eval()
    window = recipe.seq_len + 1
    count = max(1, min(recipe.valid_tokens // share // recipe.seq_len, text.size // window))
    starts = np.arange(count) * (text.size // count)
    windows = Windows(text, recipe)
    total = 0.0
    for first in range(0, count, recipe.batch_size):
        batch = starts[first : first + recipe.batch_size]
        total += _loss(model, *windows.at(batch), recipe).item() * len(batch)
    return _finite(total / count, "validation loss") / math.log(2)


def _to_array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()


def _add_balance(loss: Tensor, experts: list[Routed], recipe: Recipe) -> Tensor:
    losses = [module.balance_loss for module in experts if module.balance_loss is not None]
    if not losses or recipe.balance != "loss":
        return loss
    return loss + BALANCE_WEIGHT * torch.stack(losses).mean()


def _rebalance(experts: list[Routed], recipe: Recipe) -> None:
    if recipe.balance == "bias":
        for module in experts:
            module.rebalance(recipe.balance_rate)


def _update(optimizers: list[torch.optim.Optimizer], rate: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = optimizer.defaults["lr"] * rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _loss(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, recipe: Recipe) -> Tensor:
    """Return the mean cross entropy in nats over the targets that are not ignored."""
    device = next(model.parameters()).device
    tokens, wanted = (torch.from_numpy(one).to(device).long() for one in (inputs, targets))
    half = device.type == "cuda" and recipe.dtype == "bfloat16"
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        logits = model(tokens)
    return F.cross_entropy(logits.float().flatten(0, 1), wanted.flatten())


def _finite(value: float, what: str) -> float:
    if not math.isfinite(value):
        raise Diverged(f"{what} is {value}")
    return value
