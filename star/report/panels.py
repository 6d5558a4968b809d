"""The front in every pair of objectives, as points of unit squares, for both the page and the picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from star.records import Evaluation, Individual, Status
from star.report.axes import GENERATIONS, Axis, axis_over
from star.report.history import History

BIRTH = "generation"  # stands in for a second objective where there is only one

NAMES = {  # of kinds of points, by field of Panel
    "front": "front",
    "population": "rest of the last population",
    "others": "other proxies trained to the end",
    "baselines": "named architecture",
}
Place = tuple[float, float]  # from (0, 0), smallest values, to (1, 1)


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of objectives, both to be minimised: points by hash, id or title, and `steps`, the line below which no
    proxy lies."""

    x: Axis
    y: Axis
    others: list[tuple[str, Place]]
    population: list[tuple[int, Place]]
    front: list[tuple[int, Place]]
    steps: list[Place]
    baselines: list[tuple[str, Place]]


def legend(panels: Sequence[Panel]) -> dict[str, str]:
    """Return the names of the kinds of points that at least one panel has, by field of Panel."""
    return {field: name for field, name in NAMES.items() if any(getattr(panel, field) for panel in panels)}


def make_panels(history: History) -> list[Panel]:
    """Return a panel for each pair of objectives, with the earlier one on the vertical axis; for a single objective,
    one over the generation of birth. Return none if no proxy was trained to the end."""
    if not any(one.status is Status.OK for one in history.trained):
        return []
    columns = [objective.column for objective in history.objectives]
    pairs = [(second, first) for first, second in combinations(columns, 2)] or [(BIRTH, columns[0])]
    return [_panel(history, x, y) for x, y in pairs]


def _panel(history: History, x: str, y: str) -> Panel:
    def value(one: Individual | Evaluation, column: str) -> float:
        if column == BIRTH:
            return float(one.generation if isinstance(one, Individual) else history.births[one.hash])
        return one.objectives[column]

    def values_of(one: Individual | Evaluation) -> Place:
        return value(one, x), value(one, y)

    front = [(one.id, values_of(one)) for one in history.last.front]
    population = [(one.id, values_of(one)) for one in history.rest]
    baselines = [(title, values_of(one)) for title, one in history.baselines.items()]
    shown = [place for _, place in [*front, *population, *baselines]]
    axis_x = _axis(history, x, [place[0] for place in shown])
    axis_y = _axis(history, y, [place[1] for place in shown])

    def place(values: Place) -> Place:
        return axis_x.at(values[0]), axis_y.at(values[1])

    others = [(one.hash, values_of(one)) for one in history.others]
    return Panel(
        x=axis_x,
        y=axis_y,
        others=[
            (hash, place(values)) for hash, values in others if axis_x.shows(values[0]) and axis_y.shows(values[1])
        ],
        population=[(id, place(values)) for id, values in population],
        front=[(id, place(values)) for id, values in front],
        steps=[place(values) for values in staircase([values for _, values in front])],
        baselines=[(title, place(values)) for title, values in baselines],
    )


def staircase(points: list[Place]) -> list[Place]:
    """Return the corners, from left to right, of the boundary of the region that the points dominate."""
    corners: list[Place] = []
    for x, y in sorted(points):
        if not corners:
            corners.append((x, y))
        elif y < corners[-1][1]:
            corners += [(x, corners[-1][1]), (x, y)]
    return corners


def _axis(history: History, column: str, values: list[float]) -> Axis:
    for objective in history.objectives:
        if objective.column == column:
            return axis_over(objective.title, objective.unit, values)
    return axis_over("Generation of birth", GENERATIONS, values)
