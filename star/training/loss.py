"""The cross entropy of a model, on a batch and on a validation text."""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from star.architecture.scales import Recipe
from star.data.corpus import Corpus
from star.errors import UserError
from star.training.batches import Mixture, Windows


class Measured(NamedTuple):
    """The mean of the bits per byte of some windows of a text, its standard error, and the number of their tokens."""

    mean: float
    error: float
    tokens: int


class Diverged(RuntimeError):
    """A loss or a gradient became NaN or infinite."""


def check_corpus(corpus: Corpus, recipe: Recipe) -> None:
    """Raise UserError unless training and validation text, of each part if there are parts, each hold one window."""
    window = recipe.seq_len + 1
    sizes = [(f"part {part.name}", len(part.train), len(part.valid)) for part in corpus.parts]
    for name, train, valid in sizes or [(corpus.name, corpus.train.size, corpus.valid.size)]:
        if min(train, valid) < window:
            raise UserError(
                f"corpus {name} is too short: a window takes {window} tokens, and it has {train} for training and "
                f"{valid} for validation"
            )


@torch.no_grad()
def measure(
    model: nn.Module,
    text: np.ndarray,
    recipe: Recipe,
    share: int = 1,
    mixture: Mixture = (),
    bytes_per_token: float = 1.0,
) -> float:
    """Return the mean cross entropy of `model` on `text` in bits per byte.

    It is measured on one part in `share` of `recipe.valid_tokens`, or all there are, in windows that do not overlap,
    evenly spaced and the same for every model. With a mixture it is the mean over its parts, sum(w_i L_i) / sum(w_i),
    each L_i measured on its share of the windows, at least one. Leaves the model in evaluation mode. Raises Diverged if
    it is not finite.
    """
    model.eval()
    return sum(
        weight * _measure(model, part, recipe, tokens) / each
        for part, weight, each, tokens in _parts(text, mixture, recipe.valid_tokens // share, bytes_per_token)
    )


def _measure(model: nn.Module, text: np.ndarray, recipe: Recipe, tokens: int) -> float:
    """Return the mean cross entropy in bits per token."""
    starts, windows = _starts(text, recipe, tokens), Windows(text, recipe)
    total = 0.0
    for first in range(0, len(starts), recipe.batch_size):
        batch = starts[first : first + recipe.batch_size]
        total += cross_entropy(model, *windows.at(batch), recipe.dtype).item() * len(batch)
    return finite(total / len(starts), "validation loss") / math.log(2)


@torch.no_grad()
def measure_windows(model: nn.Module, corpus: Corpus, recipe: Recipe) -> Measured:
    """Return the mean cross entropy of `model` in bits per byte over the windows that `measure` takes, and its standard
    error over windows, with parts sqrt(sum(w_i^2 e_i^2)) / sum(w_i). Leaves the model in evaluation mode.
    """
    model.eval()
    mean = variance = 0.0
    tokens = 0
    given = corpus.valid, corpus.valid_parts, recipe.valid_tokens, corpus.bytes_per_token
    for part, weight, each, wanted in _parts(*given):
        starts, windows, found = _starts(part, recipe, wanted), Windows(part, recipe), []
        for first in range(0, len(starts), recipe.batch_size):
            batch = starts[first : first + recipe.batch_size]
            losses = cross_entropy(model, *windows.at(batch), recipe.dtype, reduction="none")
            found.append(losses.view(len(batch), -1).mean(dim=1).double().cpu().numpy())
        values = np.concatenate(found) / math.log(2) / each
        mean += weight * float(values.mean())
        variance += weight**2 * (float(values.var(ddof=1)) / len(values) if len(values) > 1 else math.nan)
        tokens += len(values) * recipe.seq_len
    return Measured(mean, math.sqrt(variance), tokens)


def _parts(
    text: np.ndarray, mixture: Mixture, tokens: int, bytes_per_token: float
) -> list[tuple[np.ndarray, float, float, int]]:
    """Return of each part its text, its share of the weights, the bytes of a token, and how many tokens to measure."""
    if not mixture:
        return [(text, 1.0, bytes_per_token, tokens)]
    total = sum(part.weight for part in mixture)
    return [
        (
            text[part.tokens.start : part.tokens.stop],
            part.weight / total,
            part.bytes_per_token,
            int(tokens * part.weight / total),
        )
        for part in mixture
    ]


def _starts(text: np.ndarray, recipe: Recipe, tokens: int) -> np.ndarray:
    """Return the places at which windows begin that do not overlap, evenly spaced: about so many tokens in all."""
    count = max(1, min(tokens // recipe.seq_len, text.size // (recipe.seq_len + 1)))
    return np.arange(count) * (text.size // count)


def cross_entropy(
    model: nn.Module, inputs: np.ndarray, targets: np.ndarray, dtype: str, reduction: str = "mean"
) -> Tensor:
    """Return the cross entropy in nats over the targets that are not ignored: the mean, or that of each with "none".

    With `dtype` "bfloat16" the model computes in it where that is safe; its weights and the loss stay in float32.
    """
    device = next(model.parameters()).device
    tokens, wanted = (_to_device(one, device) for one in (inputs, targets))
    with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
        logits = model(tokens)
    return F.cross_entropy(logits.float().flatten(0, 1), wanted.flatten(), reduction=reduction)


def _to_device(tokens: np.ndarray, device: torch.device) -> Tensor:
    """Return integers on a device. A copy to a GPU goes on while this process does something else."""
    tensor = torch.from_numpy(tokens)
    return tensor.pin_memory().to(device, non_blocking=True).long() if device.type == "cuda" else tensor.long()


def finite(value: float, what: str) -> float:
    """Return the value. Raise Diverged if it is not finite."""
    if not math.isfinite(value):
        raise Diverged(f"{what} is {value}")
    return value
