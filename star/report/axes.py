"""Values with units in few digits, and linear or logarithmic axes with round ticks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

MARGIN = 0.04  # of an axis, left free at either end
LOG_RATIO = 8  # between largest and smallest value, from which an axis is logarithmic
ZERO_SHARE = 0.12  # of a logarithmic axis, between zero and the smallest value above it
MOST_TICKS = 6
GENERATIONS = "generations"  # a unit that has no fractions


def human(value: float, unit: str) -> str:
    """Return a value in few digits: 16.4 kB for bytes, 193k for a count, 2.053 for anything small."""
    prefixes = ["", "k", "M", "G", "T"] if unit == "bytes" else ["", "k", "M", "B", "T"]
    power = 0
    while abs(float(f"{value:.3g}")) >= 1000 and power < len(prefixes) - 1:
        value, power = value / 1000, power + 1
    digits = f"{value:.3g}" if power else f"{value:.4g}"
    return f"{digits} {prefixes[power]}B" if unit == "bytes" else digits + prefixes[power]


def in_table(value: float, unit: str) -> str:
    """Return a value as `human` does, but small fractions with three decimals, so that a column lines up."""
    return f"{value:.3f}" if abs(value) < 100 and value % 1 else human(value, unit)


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis from `low` to `high`, drawn from 0 to 1. It is logarithmic above `floor` if that is positive; zero then
    has its own position below."""

    title: str
    unit: str
    low: float
    high: float
    floor: float = 0.0

    def at(self, value: float) -> float:
        """Return the position of a value: 0 at the low end, 1 at the high end."""
        low, high = self._stretch(self.low), self._stretch(self.high)
        return MARGIN + (1 - 2 * MARGIN) * (self._stretch(value) - low) / (high - low)

    def shows(self, value: float) -> bool:
        """Return whether a value lies on the axis."""
        return 0 <= self.at(value) <= 1

    def ticks(self) -> list[tuple[float, str]]:
        """Return the position and label of each tick."""
        values = self._log_ticks() if self.floor else _round_steps(self.low, self.high)
        if self.unit == GENERATIONS:
            values = [value for value in values if value >= 0 and not value % 1]
        return [(self.at(value), human(value, self.unit)) for value in values]

    def _stretch(self, value: float) -> float:
        if not self.floor:
            return value
        if value >= self.floor:
            return math.log10(value / self.floor)
        return (value / self.floor - 1) * ZERO_SHARE * math.log10(self.high / self.floor)

    def _log_ticks(self) -> list[float]:
        first, last = math.floor(math.log10(self.floor)), math.ceil(math.log10(self.high))
        for digits in ((1, 2, 5), (1, 3), (1,)):
            ticks = [digit * 10.0**power for power in range(first, last + 1) for digit in digits]
            ticks = [tick for tick in ticks if self.floor <= tick <= self.high]
            if len(ticks) <= MOST_TICKS:
                break
        every = -(-len(ticks) // MOST_TICKS)
        return [0.0] * (self.low == 0) + ticks[::every]


def axis_over(title: str, unit: str, values: Sequence[float]) -> Axis:
    """Return an axis that holds all `values`; it has a positive width even for one value or none."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low == high:
        low, high = low - (abs(low) or 1) * 0.1, high + (abs(high) or 1) * 0.1
    floor = min((value for value in values if value > 0), default=0.0)
    wide = low >= 0 and high >= LOG_RATIO * floor
    return Axis(title, unit, low, high, floor if wide and floor < high else 0.0)


def _round_steps(low: float, high: float) -> list[float]:
    """Return the multiples of 1, 2, 2.5 or 5 times a power of ten within the bounds."""
    power = 10.0 ** math.floor(math.log10((high - low) / MOST_TICKS))
    step = next(m * power for m in (1, 2, 2.5, 5, 10, 20) if (high - low) / (m * power) <= MOST_TICKS)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]
