"""The kinds of search: who becomes a parent, who survives, and what besides the survivors has to be remembered.

All share the operators of `star.search.operators` and the order that Deb's rules give (`star.search.candidates`).
docs/decisions/0011-searchers.md says what was decided where the sources leave it open.
"""
# pymoo's Population is an array whose slices numpy types as plain arrays.
# pyright: reportReturnType=false

import warnings
from typing import Any, NamedTuple

import numpy as np
from pymoo.algorithms.moo.nsga3 import HyperplaneNormalization, ReferenceDirectionSurvival
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.selection import Selection
from pymoo.operators.selection.tournament import TournamentSelection
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding
from pymoo.util.ref_dirs import get_reference_directions
from pymoo.util.reference_direction import get_partition_closest_to_points

from star.search.operators import SampledTournament, by_dominance, by_violation, sort_key
from star.search.plan import Plan

ELITE = 2
SAMPLE = 4  # one of so many individuals takes part in a tournament of regularised evolution: 25 of 100 in the paper


class Algorithm:
    """NSGA-II: binary tournament by dominance and crowding, survival by rank and crowding."""

    breeds = True  # after the first `population` proposals come children, not samples
    crosses = True  # two parents for two children, not one for one

    def __init__(self, plan: Plan, state: dict[str, Any] | None = None) -> None:
        """`state` is what the method of that name returned, None in a new search."""
        self.population = plan.population
        self.ranking = RankAndCrowding()
        self.selection: Selection = TournamentSelection(func_comp=by_dominance)

    def survive(self, problem: Problem, pool: Population, told: int, rng: np.random.Generator) -> Population:
        """Return those who stay, `population` at most, of `pool`: the survivors so far and, behind them, as many as
        were `told`. The sound ones have rank and crowding then."""
        return self.ranking.do(problem, pool, n_survive=self.population, random_state=rng)

    def succeed(
        self, problem: Problem, pool: Population, survivors: Population, rng: np.random.Generator
    ) -> Population:
        """Return those whose survival speaks for the operators that made them."""
        return survivors

    def state(self) -> dict[str, Any]:
        """Return what `survive` remembers, as JSON holds it."""
        return {}


class Random(Algorithm):
    """Samples only; what survives is what NSGA-II would keep."""

    breeds = False


class ReferenceDirections(Algorithm):
    """NSGA-III: parents at random among the feasible, the last front thinned out by directions."""

    def __init__(self, plan: Plan, state: dict[str, Any] | None = None) -> None:
        super().__init__(plan, state)
        self.selection = TournamentSelection(func_comp=by_violation)
        partitions = get_partition_closest_to_points(plan.population, plan.num_objectives)
        directions = get_reference_directions("das-dennis", plan.num_objectives, n_partitions=partitions)
        self._normalisation = UnitFreeNormalization(plan.num_objectives, state or {})
        self._survival = ReferenceDirectionSurvival(directions)
        self._survival.norm = self._normalisation

    def survive(self, problem: Problem, pool: Population, told: int, rng: np.random.Generator) -> Population:
        with warnings.catch_warnings():  # pymoo turns all warnings off, for everybody and for good
            survivors = self._survival.do(problem, pool, n_survive=self.population, random_state=rng)
        self.ranking.do(problem, survivors, random_state=rng)  # for the crowding, which orders nothing here
        return survivors

    def state(self) -> dict[str, Any]:
        return self._normalisation.state()


class UnitFreeNormalization(HyperplaneNormalization):
    """pymoo's normalisation of objectives by ideal and nadir point, made independent of units.

    pymoo compares differences of objectives with absolute thresholds (1e-3, 1e-6) and weighs them 1 to 1e6, so that
    bits beside bytes would leave it one axis. So it is given values / unit: for each objective the power of two
    below the largest magnitude among the first sound individuals. A power of two rounds nothing.
    """

    def __init__(self, num_objectives: int, state: dict[str, Any]) -> None:
        super().__init__(num_objectives)
        self._inner = HyperplaneNormalization(num_objectives)
        self._unit: np.ndarray | None = np.array(state["unit"]) if state else None
        if state:
            points = (np.array(state[name]) for name in ("ideal", "worst", "extreme"))
            self._inner.ideal_point, self._inner.worst_point, self._inner.extreme_points = points

    def update(self, F: np.ndarray, nds: np.ndarray | None = None) -> None:
        if self._unit is None:
            largest = np.abs(F).max(axis=0)
            self._unit = np.exp2(np.frexp(np.where(largest > 0, largest, 1.0))[1] - 1)
        self._inner.update(F / self._unit, nds)
        self.ideal_point = self._inner.ideal_point * self._unit
        self.nadir_point = self._inner.nadir_point * self._unit

    def state(self) -> dict[str, Any]:
        """Return ideal, worst and extreme points in units, and the units; empty as long as nothing sound was seen. The
        nadir point follows from them anew at each update."""
        if self._unit is None:
            return {}
        inner = self._inner
        points = {"ideal": inner.ideal_point, "worst": inner.worst_point, "extreme": inner.extreme_points}
        return {name: values.tolist() for name, values in (points | {"unit": self._unit}).items()}


class Aging(Algorithm):
    """Regularised evolution: the youngest survive, whatever they are worth. The order of survivors is that in which
    they were told, which is all that has to be known of their age."""

    crosses = False

    def __init__(self, plan: Plan, state: dict[str, Any] | None = None) -> None:
        super().__init__(plan, state)
        self.selection = SampledTournament(max(2, plan.population // SAMPLE))

    def survive(self, problem: Problem, pool: Population, told: int, rng: np.random.Generator) -> Population:
        youngest = pool[-self.population :]
        self.ranking.do(problem, youngest, random_state=rng)
        return youngest

    def succeed(
        self, problem: Problem, pool: Population, survivors: Population, rng: np.random.Generator
    ) -> Population:
        """Return who would survive in NSGA-II, since here every newcomer does. Ranks and crowding stay those of
        survivors."""
        best = self.ranking.do(problem, pool, n_survive=self.population, random_state=rng)
        self.ranking.do(problem, survivors, random_state=rng)
        return best


class Generational(Aging):
    """A plain genetic algorithm: the elite stays, newcomers take the place of all others, the oldest first."""

    crosses = True

    def __init__(self, plan: Plan, state: dict[str, Any] | None = None) -> None:
        super().__init__(plan, state)
        self.selection = SampledTournament(2)

    def survive(self, problem: Problem, pool: Population, told: int, rng: np.random.Generator) -> Population:
        self.ranking.do(problem, pool, random_state=rng)
        best_first = sorted(range(len(pool)), key=lambda i: sort_key(pool[i]))
        elite, others = best_first[:ELITE], best_first[ELITE:]
        newcomers = [i for i in others if i >= len(pool) - told]
        youngest_first = sorted(set(others).difference(newcomers), reverse=True)
        survivors = pool[sorted([*elite, *newcomers, *youngest_first][: self.population])]
        self.ranking.do(problem, survivors, random_state=rng)
        return survivors


class Row(NamedTuple):
    """An algorithm as people choose it: what it does, who described it, what it is here."""

    sentence: str
    source: str
    kind: type[Algorithm]


ALGORITHMS: dict[str, Row] = {
    "nsga2": Row(
        "Parents and survivors by non-dominated rank, then by how little crowded they are.",
        "Deb et al. 2002, doi:10.1109/4235.996017",
        Algorithm,
    ),
    "nsga3": Row(
        "Survivors by non-dominated rank, then spread evenly over directions; for three objectives and more.",
        "Deb & Jain 2014, doi:10.1109/TEVC.2013.2281535",
        ReferenceDirections,
    ),
    "regularised": Row(
        "Mutants of the best of a sample; the oldest dies, however good it is.",
        "Real et al. 2019, arXiv:1802.01548",
        Aging,
    ),
    "ga": Row(
        "A plain genetic algorithm: children replace the population except its two best.",
        "after Thomas et al. 2024, arXiv:2411.17800",
        Generational,
    ),
    "random": Row(
        "Uniform samples only: the baseline that the others have to beat.",
        "Li & Talwalkar 2019, arXiv:1902.07638",
        Random,
    ),
}
