"""Where proposals come from: seeds, uniform samples, and children of the survivors."""

import math
from collections.abc import Sequence

import numpy as np
from pymoo.core.population import Population
from pymoo.core.problem import Problem

from star.records import Genome
from star.search.algorithms import Algorithm
from star.search.operators import Copy, GenomeMutation, TwoPointCrossover
from star.search.plan import Plan
from star.search.rates import FACTORS, Rates, Setting, scaled
from star.search.sieve import Draft, Sieve

FRESH_ROUNDS = 1_000  # fruitless draws before the space counts as exhausted
BREEDING_ROUNDS = 100  # before fresh samples take the places of children
AS_CONFIGURED = Setting(FACTORS.index(1.0), True)


class Breeding:
    """Draws drafts through a sieve. Where almost all violate a constraint, mutants of the least violating draws take
    the place of samples and children: to know a violation costs nothing."""

    def __init__(self, plan: Plan, algorithm: Algorithm, problem: Problem, sieve: Sieve) -> None:
        self.rates = Rates(algorithm.crosses) if plan.adaptive else None
        self.repaired = 0
        self._space = plan.space
        self._algorithm = algorithm
        self._problem = problem
        self._sieve = sieve
        self._copy, self._crossover = Copy(), TwoPointCrossover(plan.space)
        self._mutations = [GenomeMutation(scaled(plan.space, factor)) for factor in FACTORS]

    def first(self, seeds: list[Genome], number: int, rng: np.random.Generator) -> list[Draft]:
        """Of `seeds`, which are used up, those that are new; then fresh samples."""
        drafts: list[Draft] = []
        while seeds and len(drafts) < number:
            drafts += self._sieve.admit(Draft(self._repair(seeds.pop(0))))
        self._sieve.fill(drafts, number, FRESH_ROUNDS, lambda missing: self._samples(missing, rng))
        return drafts

    def later(self, pop: Population, number: int, rng: np.random.Generator) -> list[Draft]:
        """Children of `pop`, unless it is empty; where breeding finds nothing new any more, fresh samples."""
        drafts: list[Draft] = []
        if len(pop):
            self._sieve.fill(drafts, number, BREEDING_ROUNDS, lambda missing: self._children(pop, missing, rng))
        self._sieve.fill(drafts, number, FRESH_ROUNDS, lambda missing: self._samples(missing, rng))
        return drafts

    def _samples(self, number: int, rng: np.random.Generator) -> list[Draft]:
        if nearest := self._sieve.nearest():
            return self._descend(nearest, number, rng)
        return [Draft(self._space.sample(rng)) for _ in range(number)]

    def _descend(self, nearest: list[Draft], number: int, rng: np.random.Generator) -> list[Draft]:
        """Mutants of drafts, which count as children of the same parents."""
        chosen = [nearest[i] for i in rng.integers(len(nearest), size=number).tolist()]
        return [Draft(self._space.repair(self._space.mutate(one.genome, rng)), one.parents) for one in chosen]

    def _children(self, pop: Population, number: int, rng: np.random.Generator) -> list[Draft]:
        if nearest := self._sieve.nearest():
            return self._descend(nearest, number, rng)
        if self.rates is None:
            return self._brood(AS_CONFIGURED, pop, number, rng)
        drawn = self.rates.draw(number, rng)
        counts = {setting: drawn.count(setting) for setting in sorted(set(drawn))}
        broods = [self._brood(setting, pop, count, rng)[:count] for setting, count in counts.items()]
        return [draft for brood in broods for draft in brood]

    def _brood(self, setting: Setting, pop: Population, number: int, rng: np.random.Generator) -> list[Draft]:
        """At least `number` children, all made in one way."""
        is_crossed = setting.crossed and self._algorithm.crosses
        crossover = self._crossover if is_crossed else self._copy
        matings = math.ceil(number / crossover.n_offsprings)
        parents = self._algorithm.selection(
            self._problem, pop, matings, n_parents=crossover.n_parents, random_state=rng
        )
        children = crossover(self._problem, parents, random_state=rng)
        children = self._mutations[setting.factor](self._problem, children, random_state=rng)
        return [Draft(self._repair(child.X.tolist()), child.get("parents"), setting) for child in children]

    def _repair(self, values: Sequence[int]) -> Genome:
        """The nearest genome of the space; counts those that were none before."""
        genome = self._space.repair(values)
        self.repaired += genome != tuple(values)
        return genome
