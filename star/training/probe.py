"""Train a model on a synthetic task and measure its error.

The tasks and their scores are those of `data.synthetic`; the training is the one that a scale has for text, with as
many tokens, so that the two can stand side by side as objectives. A model is trained from the beginning for each task.
"""

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from star.architecture.scales import Recipe
from star.data.synthetic import SyntheticTask, proxy_setting
from star.model.language_model import LanguageModel
from star.training.loop import Training

TEST_SEED = 20_240_326  # of the questions that are asked after training, which are the same for every model


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The result of a probe. `error` is 1 - accuracy as the task scores it; `seconds` include the measuring."""

    error: float
    loss_curve: tuple[float, ...]
    tokens: int
    seconds: float


class Questions:
    """Random training examples of a task, about as many tokens per batch as the recipe has: a Source."""

    bytes_per_token = 1.0  # a token of a task stands for itself

    def __init__(self, task: SyntheticTask, recipe: Recipe, vocab_size: int) -> None:
        self.setting = proxy_setting(task, vocab_size, recipe.seq_len)
        self.size = max(1, recipe.batch_size * recipe.seq_len // self.setting.seq_len)
        self._task = task

    def batch(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return random training examples of the task."""
        examples = self._task.train(self.setting, rng, self.size)
        return examples.inputs, examples.targets


class Pooled(nn.Module):
    """An auto-encoder around a model, for tasks whose answers are read from the last position alone.

    With h the model's last normed activation at the last position and c_t the sine and cosine code of position t
    (Vaswani et al. 2017, arXiv:1706.03762), the logits at t are E (W2 gelu(W1 (h + c_t))), E the embedding.
    """

    def __init__(self, model: LanguageModel, length: int) -> None:
        super().__init__()
        width = model.embedding.weight.shape[1]
        self.layers = model.layers  # first, so that their weights go by the names that the optimizers know
        self.model = model
        self.decoder = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.register_buffer("codes", _codes(length, width), persistent=False)
        model.final_norm.register_forward_hook(self._keep)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (B, T, vocab) of the token at each place of `tokens` (B, T)."""
        self.model(tokens)
        decoded = self.decoder(self._held[:, -1:] + self.codes[: tokens.shape[1]])
        return F.linear(decoded, self.model.embedding.weight)

    def _keep(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._held = output


def probe(model: LanguageModel, task: SyntheticTask, recipe: Recipe, seed: int) -> Probe:
    """Train a fresh `model` in place on the task, then test it. Raise Diverged, and UserError if no question of the
    task fits the vocabulary and length of the recipe.
    """
    started = time.perf_counter()
    vocab_size = model.embedding.num_embeddings
    questions = Questions(task, recipe, vocab_size)
    asked = Pooled(model, questions.setting.seq_len).to(model.embedding.weight.device) if task.pools else model
    training = Training(asked, questions, recipe, seed)
    training.advance(recipe.steps)
    error = 1 - _accuracy(asked, task, questions, recipe.valid_tokens, vocab_size)
    seconds = time.perf_counter() - started
    return Probe(error=error, loss_curve=training.curve, tokens=training.tokens, seconds=seconds)


@torch.no_grad()
def _accuracy(model: nn.Module, task: SyntheticTask, questions: Questions, valid_tokens: int, vocab_size: int) -> float:
    model.eval()
    setting = questions.setting
    count = max(1, valid_tokens // setting.seq_len)
    examples = task.test(setting, np.random.default_rng(TEST_SEED), count)
    device = next(model.parameters()).device
    predicted = [
        model(torch.from_numpy(examples.inputs[first : first + questions.size]).to(device)).argmax(dim=2).cpu().numpy()
        for first in range(0, count, questions.size)
    ]
    return task.accuracy(setting, np.concatenate(predicted), examples.targets, vocab_size)


def _codes(length: int, width: int) -> Tensor:
    """Return c[t, 2i] = sin(t / 10000^(2i/d)) and c[t, 2i + 1] = cos of the same: (length, width)."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)[:, :width]
