"""Which individuals compete, which of them no other dominates, and how much they dominate together.

All objectives are minimised. docs/decisions/0004-failures-and-hypervolume.md gives the reasons.
"""

from collections.abc import Sequence

import numpy as np
from pymoo.indicators.hv import HV
from pymoo.util.nds.non_dominated_sorting import find_non_dominated

from star.records import Individual, ReferenceBox, Status

MARGIN = 0.1  # of the first generation's range, so that its worst individuals still enclose some volume


def is_sound(individual: Individual) -> bool:
    """Whether an individual may be on a front: evaluated without failure, every objective finite."""
    return individual.status is Status.OK and bool(np.isfinite(objective_values(individual)).all())


def competes(individual: Individual) -> bool:
    """Whether an individual has objectives by which it survives and has offspring: if it is sound, or was screened out,
    and then they are estimates."""
    return is_sound(individual) or individual.status is Status.SCREENED


def objective_matrix(individuals: Sequence[Individual]) -> np.ndarray:
    """Objectives of shape (individuals, objectives), columns in order of name; rows of NaN where unsound."""
    width = max((len(individual.objectives) for individual in individuals), default=0)
    values = np.full((len(individuals), max(width, 1)), np.nan)
    for row, individual in zip(values, individuals, strict=True):
        if is_sound(individual):
            row[:] = objective_values(individual)
    return values


def front_mask(objectives: np.ndarray) -> np.ndarray:
    """Which rows of an objective matrix no other row dominates. Rows that are not finite never are; equal
    rows are in the front together."""
    finite = np.flatnonzero(np.isfinite(objectives).all(axis=1))
    mask = np.zeros(len(objectives), dtype=bool)
    mask[finite[find_non_dominated(objectives[finite])]] = True
    return mask


def non_dominated(rows: Sequence[list[float]]) -> list[list[float]]:
    """Return those of some objectives that no other dominates; equal ones stay together."""
    mask = front_mask(np.array(rows)) if rows else []
    return [row for row, is_best in zip(rows, mask, strict=True) if is_best]


def reference_box(objectives: np.ndarray) -> ReferenceBox | None:
    """The box that the first generation spans, one tenth larger on its bad side; None if all of it failed."""
    finite = objectives[np.isfinite(objectives).all(axis=1)]
    if not len(finite):
        return None
    worst, best = finite.max(axis=0), finite.min(axis=0)
    span = np.where(worst > best, worst - best, np.where(worst != 0, np.abs(worst), 1.0))
    point = worst + MARGIN * span
    return ReferenceBox(tuple(point.tolist()), tuple((point - best).tolist()))


def hypervolume(points: np.ndarray, reference: ReferenceBox | None) -> float:
    """Volume that `points` (N, objectives) dominate within the reference, in units of the first generation's
    box: 1 is what one individual would enclose that had each of that generation's best values at once.

    Rows that are not finite, or beyond the reference point, enclose nothing; without a reference it is 0.
    """
    finite = points[np.isfinite(points).all(axis=1)]
    if reference is None or not len(finite):
        return 0.0
    scaled = (np.unique(finite, axis=0) - reference.point) / reference.unit
    volume = HV(ref_point=np.zeros(len(reference.point)))(scaled)
    assert volume is not None
    return float(volume)


def objective_values(individual: Individual) -> list[float]:
    """Objectives in order of name."""
    return [individual.objectives[name] for name in sorted(individual.objectives)]
