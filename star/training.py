"""The one loop that trains a proxy and measures it."""

import math
import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from star.data import Corpus
from star.muon import Muon
from star.operators.routed import Routed
from star.scales import Recipe, nearest
from star.spec import UserError

CURVE_POINTS = 32
OPTIMIZERS = ("adamw", "muon")
BALANCES = ("bias", "loss")
BALANCE_WEIGHT = 1e-2  # of the auxiliary loss (Fedus et al. 2021, arXiv:2101.03961)


class Diverged(RuntimeError):
    """A loss or a gradient became NaN or infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What training gave. `quality_bpb` is the validation cross entropy in bits per byte, `loss_curve` that
    of training, as means over up to 32 equal stretches; `seconds` include the measuring."""

    quality_bpb: float
    loss_curve: tuple[float, ...]
    tokens: int
    seconds: float


def fit(model: nn.Module, corpus: Corpus, recipe: Recipe, seed: int) -> Fit:
    """Train `model` in place on the device where it is, then measure it.

    `model` maps tokens (B, T) to logits (B, T, vocab) and keeps its slots under `model.layers`. The same
    model, corpus, recipe, seed and number of threads give the same bits. Experts are balanced as the recipe says; their
    auxiliary loss is not in the curve. The model is left in evaluation mode.

    Raises Diverged, and UserError if the corpus is shorter than one window.
    """
    check_corpus(corpus, recipe)
    started = time.perf_counter()
    curve = _train(model, corpus.train, recipe, np.random.default_rng(seed))
    quality = measure(model, corpus.valid, recipe)
    tokens = recipe.steps * recipe.batch_size * recipe.seq_len
    return Fit(quality_bpb=quality, loss_curve=curve, tokens=tokens, seconds=time.perf_counter() - started)


def check_corpus(corpus: Corpus, recipe: Recipe) -> None:
    """Raise UserError unless training and validation text each hold one window."""
    window = recipe.seq_len + 1
    if min(corpus.train.size, corpus.valid.size) < window:
        raise UserError(
            f"corpus {corpus.name} is too short: a window takes {window} bytes, and it has "
            f"{corpus.train.size} for training and {corpus.valid.size} for validation"
        )


def schedule(step: int, recipe: Recipe) -> float:
    """The learning rate of step 0, 1, ... as a share of its peak: linear warm-up, then cosine.

    The last step of the warm-up is at 1, the last step of all at `recipe.final_rate`.
    """
    warm = round(recipe.warmup * recipe.steps)
    if step < warm:
        return (step + 1) / warm
    progress = (step + 1 - warm) / (recipe.steps - warm)
    return recipe.final_rate + (1 - recipe.final_rate) * (1 + math.cos(math.pi * progress)) / 2


def make_optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or with "muon" Muon for the matrices of the slots and AdamW for the rest.

    A matrix, or a batch of them, is a parameter named `weight` of two or more dimensions. Matrices and the embedding
    decay; norms, biases, kernels and rates of recurrences do not: the last two may be stored in two dimensions, but
    mean a few numbers for each channel. What asks for no gradient is left alone.
    """
    for kind, known in (("optimizer", OPTIMIZERS), ("balance", BALANCES)):
        if (value := getattr(recipe, kind)) not in known:
            raise UserError(f"unknown {kind} {value!r}{nearest(value, known)}")
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
def measure(model: nn.Module, text: np.ndarray, recipe: Recipe) -> float:
    """Mean cross entropy of `model` on `text` in bits per byte.

    It is measured on `recipe.valid_tokens`, or all there are, in windows that do not overlap, evenly spaced
    and the same for every model. Leaves the model in evaluation mode. Raises Diverged if it is not finite.
    """
    model.eval()
    window = recipe.seq_len + 1
    count = max(1, min(recipe.valid_tokens // recipe.seq_len, text.size // window))
    starts = np.arange(count) * (text.size // count)
    total = 0.0
    for first in range(0, count, recipe.batch_size):
        batch = starts[first : first + recipe.batch_size]
        total += _loss(model, text, batch, recipe).item() * len(batch)
    return _finite(total / count, "validation loss") / math.log(2)


def _train(model: nn.Module, text: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> tuple[float, ...]:
    model.train()
    optimizers = make_optimizers(model, recipe)
    params = list(model.parameters())
    experts = [module for module in model.modules() if isinstance(module, Routed)]
    points = min(CURVE_POINTS, recipe.steps)
    marks = [recipe.steps * i // points for i in range(points + 1)]
    curve = []
    for start, stop in pairwise(marks):
        # Sums stay on the device: looking at one number each step would make it wait for us.
        losses = norms = torch.zeros((), device=params[0].device)
        for step in range(start, stop):
            places = rng.integers(0, text.size - recipe.seq_len, recipe.batch_size)
            loss = _loss(model, text, places, recipe)
            _add_balance(loss, experts, recipe).backward()
            norms = norms + nn.utils.clip_grad_norm_(params, recipe.clip)
            losses = losses + loss.detach()
            _update(optimizers, schedule(step, recipe))
            _rebalance(experts, recipe)
        _finite(norms.item(), f"norm of the gradient by step {stop}")
        mean = _finite(losses.item() / (stop - start), f"training loss by step {stop}")
        curve.append(mean / math.log(2))
    return tuple(curve)


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


def _loss(model: nn.Module, text: np.ndarray, starts: np.ndarray, recipe: Recipe) -> Tensor:
    """Mean cross entropy in nats of the windows of `seq_len` + 1 bytes that begin at `starts`."""
    device = next(model.parameters()).device
    windows = text[starts[:, None] + np.arange(recipe.seq_len + 1)]
    tokens = torch.from_numpy(windows).to(device).long()
    half = device.type == "cuda" and recipe.dtype == "bfloat16"
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        logits = model(tokens[:, :-1])
    return F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())


def _finite(value: float, what: str) -> float:
    if not math.isfinite(value):
        raise Diverged(f"{what} is {value}")
    return value
