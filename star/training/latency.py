"""Measure how long a model takes on this machine to read a prompt, and for each token after it."""

import statistics
import time

import torch

from star.model.language_model import LanguageModel
from star.records import Latency

WARM_UP = 2  # tokens and passes that are not measured
REPEATS = 5  # of the prompt
STEPS = 16  # tokens


@torch.no_grad()
def measure_latency(model: LanguageModel, context: int) -> Latency:
    """Return the latency at batch 1 and up to `context` tokens, on the device of the model. Leaves it in evaluation
    mode.
    """
    model.eval()
    device = next(model.parameters()).device
    steps = min(STEPS, context - 1)
    prompt = torch.zeros(1, context, dtype=torch.long, device=device)
    prefill = [_time(lambda: model(prompt, model.new_cache(context)), device) for _ in range(WARM_UP + REPEATS)]
    cache = model.new_cache(context)
    model(prompt[:, : context - steps], cache)
    decode = [_time(lambda: model(prompt[:, :1], cache), device) for _ in range(steps)]
    return Latency(
        prefill_ms=statistics.median(prefill[WARM_UP:]),
        decode_ms=statistics.median(decode[WARM_UP:] or decode or prefill),
    )


def _time(action, device: torch.device) -> float:
    started = time.perf_counter()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1000 * (time.perf_counter() - started)
