"""Timing of actions in turn, so that all run under the same conditions."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

LEAST = 0.01  # seconds per sample at least; short actions are repeated
LIMIT = 3.0  # seconds of one action beyond which it is not measured
BUDGET = 5.0  # seconds for all rounds together, beyond which there are only as many as FEWEST
FEWEST = 3
TOO_SLOW = f"over {LIMIT:g} s"

Action = Callable[[], object]
Times = dict[str, list[float]]  # name -> seconds of one run of the action, one value a round


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and range over rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.low)} to {number(self.high)})"


def spread(values: list[float]) -> Spread:
    """Return median and range of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def ratio(times: Times, one: str, other: str) -> Spread:
    """Return the ratio of two times, taken within each round."""
    return spread([a / b for a, b in zip(times[one], times[other], strict=True)])


def ratio_text(times: Times, one: str, other: str) -> str:
    """Return the ratio as a cell of a table."""
    return str(ratio(times, one, other)) if one in times and other in times else TOO_SLOW


def milliseconds_text(times: Times, name: str) -> str:
    """Return the time as a cell of a table."""
    return str(spread([1000 * seconds for seconds in times[name]])) if name in times else TOO_SLOW


def number(value: float) -> str:
    """Return a number with about three digits."""
    digits = 3 if value < 0.1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def interleave(actions: dict[str, Action], rounds: int, device: torch.device) -> Times:
    """Return the times of all actions, run in turn in each round, in reverse order in every second round.

    Actions that take longer than LIMIT are left out; slow actions get fewer rounds.
    """
    seconds = {name: _warm_up(action, device) for name, action in actions.items()}
    order = [name for name in actions if seconds[name] <= LIMIT]
    repeats = {name: math.ceil(LEAST / seconds[name]) for name in order}
    one_round = sum(seconds[name] * repeats[name] for name in order)
    if one_round * rounds > BUDGET:
        rounds = min(rounds, max(FEWEST, int(BUDGET / one_round)))
    times: Times = {name: [] for name in order}
    for _ in range(rounds):
        for name in order:
            times[name].append(_time(actions[name], repeats[name], device))
        order.reverse()
    return times


def _warm_up(action: Action, device: torch.device) -> float:
    """Return the seconds of the second run, or of the first if that is clearly too slow."""
    first = _time(action, 1, device)
    return first if first > 2 * LIMIT else _time(action, 1, device)


def _time(action: Action, repeats: int, device: torch.device) -> float:
    _wait(device)
    started = time.perf_counter()
    for _ in range(repeats):
        action()
    _wait(device)
    return (time.perf_counter() - started) / repeats


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
