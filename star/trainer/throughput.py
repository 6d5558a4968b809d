"""Throughput of a training, and its share of what a device can compute."""

import time

import torch

SIZE, WARM_UP, REPEATS = 2_048, 2, 8  # of the product of matrices that is timed


def measure_peak(device: str, dtype: str) -> float:
    """Return the FLOP/s of a product of large square matrices on a device: the best of some repetitions."""
    made = torch.ones(SIZE, SIZE, device=device, dtype=getattr(torch, dtype))
    best = float("inf")
    for number in range(WARM_UP + REPEATS):
        _synchronise(device)
        begun = time.perf_counter()
        made @ made
        _synchronise(device)
        if number >= WARM_UP:
            best = min(best, time.perf_counter() - begun)
    return 2 * SIZE**3 / best


def _synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
