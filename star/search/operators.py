"""pymoo's operators, filled with what `star.architecture.genome` knows of genomes.

Each draws from the generator that pymoo hands down: where none comes, pymoo would draw from the system's
entropy, and the search could not be repeated.
"""
# pymoo annotates its hooks as returning None and its generators as None, and passes keywords it does not declare.
# pyright: reportIncompatibleMethodOverride=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportReturnType=false, reportOperatorIssue=false

from typing import NamedTuple

import numpy as np
from pymoo.algorithms.moo.nsga2 import binary_tournament
from pymoo.core.crossover import Crossover
from pymoo.core.individual import Individual as Candidate
from pymoo.core.mutation import Mutation
from pymoo.core.selection import Selection

from star.architecture.genome import Space


class TwoPointCrossover(Crossover):
    """Two children of two parents, whose ids are written on the children."""

    def __init__(self, space: Space) -> None:
        super().__init__(n_parents=2, n_offsprings=2, prob=1.0)
        self.space = space

    def do(self, problem, pop, random_state=None):
        children = super().do(problem, pop, random_state=random_state)
        parents = [tuple(dict.fromkeys(parent.get("id") for parent in pair)) for pair in pop]
        children.set("parents", parents * self.n_offsprings)  # pymoo lists all first children, then all second
        return children

    def _do(self, problem, X, random_state=None):
        first, second = X.tolist()
        pairs = [self.space.crossover(tuple(a), tuple(b), random_state) for a, b in zip(first, second, strict=True)]
        return np.array(pairs, dtype=np.int64).swapaxes(0, 1)


class Copy(Crossover):
    """One child of one parent, its equal: for children that mutation alone makes."""

    def __init__(self) -> None:
        super().__init__(n_parents=1, n_offsprings=1, prob=1.0)

    def do(self, problem, pop, random_state=None):
        children = super().do(problem, pop, random_state=random_state)
        children.set("parents", [(parent.get("id"),) for (parent,) in pop])
        return children

    def _do(self, problem, X, random_state=None):
        return X


class GenomeMutation(Mutation):
    """Integers of each genome replaced with the probabilities of the space."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space

    def _do(self, problem, X, random_state=None):
        return np.array([self.space.mutate(tuple(row), random_state) for row in X.tolist()], dtype=np.int64)


class SampledTournament(Selection):
    """Parents that are the best of `size` individuals, drawn uniformly with replacement: first by violation, then by
    rank, then by crowding; of equals the first drawn."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def _do(self, problem, pop, n_select, n_parents, random_state=None):
        drawn = random_state.integers(len(pop), size=(n_select * n_parents, self.size)).tolist()
        winners = [min(row, key=lambda i: sort_key(pop[i])) for row in drawn]
        return np.array(winners).reshape(n_select, n_parents)


def sort_key(candidate: Candidate) -> tuple[float, float, float]:
    """Orders candidates, the best first: by violation, or, where there is none, by rank and then by crowding."""
    violation = float(candidate.CV[0])
    return (violation, 0, 0) if violation else (0, candidate.get("rank"), -candidate.get("crowding"))


class _Rules(NamedTuple):
    random_state: np.random.Generator
    tournament_type: str = "comp_by_dom_and_crowding"


def by_dominance(pop, P, random_state):
    """The winners of pairs P (N, 2): less violating, or dominating, or less crowded (Deb et al. 2002)."""
    return binary_tournament(pop, P, _Rules(random_state))


def by_violation(pop, P, random_state):
    """The winners of pairs P (N, 2): the less violating, otherwise either (Deb & Jain 2014).

    pymoo's own breaks ties between violations with a generator of the system's entropy.
    """
    first = random_state.random(len(P)) < 0.5
    for i, pair in enumerate(P):
        a, b = (pop[one].CV[0] for one in pair)
        if a != b:
            first[i] = a < b
    return np.where(first, P[:, 0], P[:, 1])[:, None]
