"""Texts that a model continues."""

import numpy as np
import torch

from star.metrics.documents import start_token
from star.metrics.trained_model import TrainedModel


def sample(
    trained: TrainedModel, prompt: str, count: int, most: int, temperature: float, chance: torch.Generator
) -> list[str]:
    """Return continuations of a prompt, without the prompt.

    Tokens are drawn from softmax(logits / temperature), or are the most likely ones at temperature 0. A text ends with
    the token that ends a document, or after `most` tokens.

    Args:
        count: of continuations.
        chance: the generator of what is drawn, on the device of the model.

    Raises:
        SettingError: the model has learned positions for fewer tokens.
    """
    (tokens,) = trained.tokenizer.encode([prompt])
    tokens = tokens if tokens.size else np.array([start_token(trained.tokenizer)])
    trained.check_context("max_tokens", tokens.size + most)
    device = trained.model.embedding.weight.device
    rows = torch.from_numpy(tokens.astype(np.int64)).repeat(count, 1).to(device)
    found = trained.model.generate(rows, most, temperature, chance)[:, tokens.size :].cpu().numpy()
    return [trained.tokenizer.decode(cut_at_end(row, trained.tokenizer.end)) for row in found]


def cut_at_end(tokens: np.ndarray, end: int | None) -> np.ndarray:
    """Return the tokens before the first one that ends a document."""
    ends = np.flatnonzero(tokens == (-1 if end is None else end))
    return tokens[: ends[0]] if ends.size else tokens
