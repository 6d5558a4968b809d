"""Charts over the generations of a run, as points of unit squares that the page draws."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from star.report.axes import GENERATIONS, Axis, axis_over, human
from star.report.panels import Place

GAP = 0.9  # of the distance between generations, filled by a bar
WIDEST = 0.12  # of the chart, for one bar


class Mark(NamedTuple):
    """One value of a line. `text` is the value with its unit."""

    generation: int
    text: str
    place: Place


class Trend(NamedTuple):
    """Lines by name."""

    x: Axis
    y: Axis
    lines: dict[str, list[Mark]]


class Bar(NamedTuple):
    """The percentage of one name in one generation, drawn from `low` to `high`."""

    generation: int
    name: str
    percent: float
    left: float
    low: float
    high: float


class Shares(NamedTuple):
    """One stacked column for each generation."""

    x: Axis
    y: Axis
    width: float
    bars: list[Bar]


def make_trend(title: str, unit: str, numbers: Sequence[int], lines: Mapping[str, Sequence[float]]) -> Trend:
    """Return one line for each name over the generation numbers."""
    x, y = _generations(numbers), axis_over(title, unit, [value for values in lines.values() for value in values])

    def mark(number: int, value: float) -> Mark:
        return Mark(number, human(value, unit), (x.at(number), y.at(value)))

    return Trend(x, y, {name: list(map(mark, numbers, values)) for name, values in lines.items()})


def make_shares(title: str, rows: Sequence[tuple[int, Mapping[str, int]]], names: Iterable[str]) -> Shares:
    """Return the share of each name in each generation, stacked from the bottom in the order of `names`."""
    x, y = _generations([number for number, _ in rows]), Axis(title, "percent", 0.0, 100.0)
    width = min(GAP * (x.at(1) - x.at(0)), WIDEST)
    order, bars = list(names), []
    for number, counts in rows:
        total, below = sum(counts.values()), 0.0
        for name in order:
            if share := 100 * counts.get(name, 0) / total:
                places = (x.at(number) - width / 2, y.at(below), y.at(below + share))
                bars.append(Bar(number, name, share, *places))
                below += share
    return Shares(x, y, width, bars)


def _generations(numbers: Sequence[int]) -> Axis:
    return Axis("Generation", GENERATIONS, min(numbers) - 0.5, max(numbers) + 0.5)
