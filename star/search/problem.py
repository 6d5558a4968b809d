"""Individuals as pymoo sees them, and back: objectives, and constraints whose violation tells who failed how badly.

Deb's rules (Deb et al. 2002) then order all that there is: those that compete, sound or screened out, by their
objectives; behind them those that were stopped, the smallest shortfall first; behind these what is beyond a limit or
failed.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pymoo.core.population import Population
from pymoo.core.problem import Problem

from star.records import Genome, Individual, Status
from star.search.front import competes, objective_values
from star.search.plan import Constraints, Plan

PENALTY = 1e30  # an objective of a failed individual: never compared, only finite; violation of what cannot be built
STOPPED = 1e-18  # violation per shortfall, which is below 2: less than any relative excess that a float can hold


class ConstrainedProblem(Problem):
    """The search as pymoo sees it. Its constraints: that the evaluation did not fail, then the limits."""

    def __init__(self, plan: Plan, limits: Constraints) -> None:
        columns = 1 + limits.num_constraints
        super().__init__(n_var=plan.space.length, n_obj=plan.num_objectives, n_ieq_constr=columns, vtype=int)
        self._limits = limits

    def to_pymoo(self, individuals: Sequence[Individual]) -> Population:
        """Return candidates in the order of `individuals`, with id, rank and crowding."""
        values = np.full((len(individuals), self.n_obj), PENALTY)
        for row, individual in zip(values, individuals, strict=True):
            if competes(individual):
                assert len(individual.objectives) == self.n_obj, individual.objectives
                row[:] = objective_values(individual)
        return Population.new(
            X=np.array([individual.genome for individual in individuals], dtype=np.int64),
            F=values,
            G=np.array([self._columns(individual) for individual in individuals]),
            id=[individual.id for individual in individuals],
            rank=[individual.rank for individual in individuals],
            crowding=[individual.crowding for individual in individuals],
        )

    def violation(self, genome: Genome) -> float:
        """Return the sum of what a genome violates, as pymoo sums it: 0 if it may be evaluated."""
        violations = self._limits.violations(genome)
        return PENALTY if violations is None else sum(max(0.0, value) for value in violations)

    def _columns(self, individual: Individual) -> list[float]:
        violations = self._limits.violations(individual.genome)
        if violations is None:
            return [PENALTY] + [0.0] * self._limits.num_constraints
        if individual.status is Status.STOPPED:
            assert 0 < individual.shortfall < 2, individual
            return [STOPPED * individual.shortfall, *violations]
        untrained = individual.status is Status.INFEASIBLE and max(violations, default=0.0) > 0
        return [float(not competes(individual) and not untrained), *violations]


def from_pymoo(known: dict[int, Individual], candidates: Population) -> tuple[Individual, ...]:
    """Return the individuals behind `candidates`, with pymoo's rank and crowding: it gives them to sound ones only."""
    violated = [bool(candidate.CV[0] > 0) for candidate in candidates]
    places = [
        (0, 0.0) if beyond else (int(candidate.get("rank")), float(candidate.get("crowding")))
        for candidate, beyond in zip(candidates, violated, strict=True)
    ]
    last = 1 + max((rank for (rank, _), beyond in zip(places, violated, strict=True) if not beyond), default=0)
    return tuple(
        _placed(known[candidate.get("id")], last if beyond else rank, crowding)
        for candidate, beyond, (rank, crowding) in zip(candidates, violated, places, strict=True)
    )


def _placed(one: Individual, rank: int, crowding: float) -> Individual:
    is_there = one.rank == rank and one.crowding == crowding
    return one if is_there else replace(one, rank=rank, crowding=crowding)
