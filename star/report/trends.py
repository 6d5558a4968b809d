"""Charts over the generations of a run, as values and shares that the page draws."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from star.report.axes import GENERATIONS, Axis, axis_over


class Trend(NamedTuple):
    """Lines by name: the value at each of the generation numbers."""

    x: Axis
    y: Axis
    numbers: Sequence[int]
    lines: Mapping[str, Sequence[float]]


class Shares(NamedTuple):
    """Stacked columns of bars: generation, name, and the percentages at the bottom and at the top."""

    x: Axis
    y: Axis
    width: float  # of a column, as a share of the chart
    bars: list[tuple[int, str, float, float]]


def make_trend(title: str, unit: str, numbers: Sequence[int], lines: Mapping[str, Sequence[float]]) -> Trend:
    """Return one line for each name over the generation numbers."""
    y = axis_over(title, unit, [value for values in lines.values() for value in values])
    return Trend(_generations(numbers), y, numbers, lines)


def make_shares(title: str, rows: Sequence[tuple[int, Mapping[str, int]]], names: Iterable[str]) -> Shares:
    """Return the share of each name in each generation, stacked from the bottom in the order of `names`."""
    x, order, bars = _generations([number for number, _ in rows]), list(names), []
    for number, counts in rows:
        total, below = sum(counts.values()), 0.0
        for name in (name for name in order if counts.get(name)):
            bars.append((number, name, below, below := below + 100 * counts[name] / total))
    return Shares(x, Axis(title, "percent", 0.0, 100.0), min(0.9 * (x.at(1) - x.at(0)), 0.12), bars)


def _generations(numbers: Sequence[int]) -> Axis:
    return Axis("Generation", GENERATIONS, min(numbers) - 0.5, max(numbers) + 0.5)
