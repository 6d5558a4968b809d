"""Time and memory of a model that reads a prompt and decodes, at batch 1, beside the price of its genome."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from star.cost.cost import memory_bytes, price
from star.metrics.trained_model import TrainedModel

WARM_UP = 2  # passes and tokens that are not timed
REPEATS = 7  # passes over the prompt
STEPS = 32  # decoded tokens


class Spread(NamedTuple):
    """The median of repeated measurements, the least and the greatest."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Time and memory at one context, at batch 1.

    Attributes:
        context: tokens of the prompt.
        prefill_seconds: of a forward pass over the prompt into a new cache.
        first_token_seconds: until the most likely token after the prompt is known.
        decode_seconds: of one more token, after a cache that is nearly full.
        weight_bytes, cache_bytes: of the tensors of the model and of its cache.
        peak_bytes: allocated on a GPU at most; None on a CPU.
        priced_weight_bytes, priced_cache_bytes: what `star.cost` says of the genome in the same number format; the
            weights that are no parameters, such as the selection bias of experts, have no price.
    """

    context: int
    prefill_seconds: Spread
    first_token_seconds: Spread
    decode_seconds: Spread
    weight_bytes: int
    cache_bytes: int
    peak_bytes: int | None
    priced_weight_bytes: int
    priced_cache_bytes: int


@torch.no_grad()
def measure_speed(trained: TrainedModel, context: int) -> Speed:
    """Return the speed and memory of a model at a context of two tokens or more.

    Raises:
        SettingError: the model has learned positions for fewer tokens.
    """
    trained.check_context("contexts", context)
    model, device = trained.model, trained.model.embedding.weight.device
    is_gpu = device.type == "cuda"
    if is_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    prompt = torch.randint(trained.tokenizer.vocab_size, (1, context), generator=torch.Generator().manual_seed(0))
    prompt = prompt.to(device)
    prefill, first = zip(*(_read(trained, prompt) for _ in range(WARM_UP + REPEATS)), strict=True)
    decode, cache_bytes = _decode(trained, prompt)
    weights = model.weights().values()
    width = model.embedding.weight.element_size()
    cost = price(trained.slots, trained.dims, context, width)
    return Speed(
        context=context,
        prefill_seconds=_spread(prefill),
        first_token_seconds=_spread(first),
        decode_seconds=_spread(decode),
        weight_bytes=sum(one.numel() * one.element_size() for one in weights),
        cache_bytes=cache_bytes,
        peak_bytes=torch.cuda.max_memory_allocated(device) if is_gpu else None,
        priced_weight_bytes=memory_bytes(cost, 0, width),
        priced_cache_bytes=cost.cache_bytes,
    )


def _read(trained: TrainedModel, prompt: torch.Tensor) -> tuple[float, float]:
    """Return the seconds of a pass over the prompt, and those until the next token is known."""
    begun = time.perf_counter()
    logits = trained.model(prompt, trained.model.new_cache(prompt.shape[1]))
    _wait(prompt.device)
    read = time.perf_counter()
    logits[:, -1].argmax().item()
    return read - begun, time.perf_counter() - begun


def _decode(trained: TrainedModel, prompt: torch.Tensor) -> tuple[list[float], int]:
    """Return the seconds of each of the last tokens of a prompt, and the bytes of the cache."""
    size = prompt.shape[1]
    steps = min(WARM_UP + STEPS, size - 1)
    cache = trained.model.new_cache(size)
    trained.model(prompt[:, : size - steps], cache)

    def step() -> None:
        trained.model(prompt[:, cache.position : cache.position + 1], cache)

    return [_time(step, prompt.device) for _ in range(steps)], cache.num_bytes


def _time(action: Callable[[], None], device: torch.device) -> float:
    _wait(device)
    begun = time.perf_counter()
    action()
    _wait(device)
    return time.perf_counter() - begun


def _spread(seconds: "list[float] | tuple[float, ...]") -> Spread:
    measured = seconds[WARM_UP:] or seconds
    return Spread(statistics.median(measured), min(measured), max(measured))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
