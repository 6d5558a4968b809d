"""What a search can minimise: a table of named functions of an architecture's cost and its proxy's training."""

from collections.abc import Callable
from dataclasses import dataclass

from star.cost import Cost
from star.scales import nearest
from star.spec import UserError
from star.training import Fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One quantity to minimise. `column` names it in files; values are in `unit` and natural sign."""

    name: str
    column: str
    unit: str
    title: str
    value: Callable[[Cost, Fit], float]


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective(
            name="quality",
            column="quality_bpb",
            unit="bits per byte",
            title="Validation bits per byte",
            value=lambda cost, fit: fit.quality_bpb,
        ),
        Objective(
            name="params",
            column="params",
            unit="parameters",
            title="Parameters",
            value=lambda cost, fit: float(cost.params),
        ),
        Objective(
            name="cache",
            column="cache_bytes",
            unit="bytes",
            title="Cache size",
            value=lambda cost, fit: float(cost.cache_bytes),
        ),
    )
}


def find_objectives(names: tuple[str, ...]) -> tuple[Objective, ...]:
    """The objectives of those names, in that order; UserError with the nearest right name otherwise."""
    for name in names:
        if name not in OBJECTIVES:
            raise UserError(f"unknown objective {name!r}{nearest(name, OBJECTIVES)}")
    return tuple(OBJECTIVES[name] for name in names)
