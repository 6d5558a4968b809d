"""Draws candidates: seeds, uniform samples, and children of the survivors."""

import math
from collections.abc import Sequence

from pymoo.core.population import Population
from pymoo.core.problem import Problem

from star.records import Genome
from star.search.candidate_filter import Candidate, Draw
from star.search.operators import Copy, GenomeMutation, TwoPointCrossover
from star.search.plan import Plan
from star.search.rates import FACTORS, Setting, scaled
from star.search.state import SearchState

FRESH_ROUNDS = 1_000  # fruitless draws before the space counts as exhausted
MATING_ROUNDS = 100  # before fresh samples take the places of children
AS_CONFIGURED = Setting(FACTORS.index(1.0), True)


class Mating:
    """Fills a draw with candidates. Where almost all violate a constraint, mutants of the least violating draws take
    the place of samples and children: to know a violation costs nothing.

    Args:
        plan: whose space and algorithm to draw by.
        state: whose generator, seeds and rates to use.
        problem: as pymoo's operators see it.
        repaired: children so far that were no genome of the space until they were repaired.
    """

    def __init__(self, plan: Plan, state: SearchState, problem: Problem, repaired: int) -> None:
        self.repaired = repaired
        self._space = plan.space
        self._state = state
        self._problem = problem
        self._copy, self._crossover = Copy(), TwoPointCrossover(plan.space)
        self._mutations = [GenomeMutation(scaled(plan.space, factor)) for factor in FACTORS]

    def begin(self, draw: Draw, number: int) -> None:
        """Take the new ones among the seeds, which are used up, then fresh samples, until `number` are taken."""
        while self._state.seeds and len(draw.taken) < number:
            draw.admit(Candidate(self._repair(self._state.seeds.pop(0))))
        draw.fill(number, FRESH_ROUNDS, lambda missing: self._sample(draw, missing))

    def go_on(self, draw: Draw, parents: Population, number: int) -> None:
        """Take children of `parents`, if there are any, then fresh samples where nothing new is bred any more, until
        `number` are taken."""
        if len(parents):
            draw.fill(number, MATING_ROUNDS, lambda missing: self._breed(draw, parents, missing))
        draw.fill(number, FRESH_ROUNDS, lambda missing: self._sample(draw, missing))

    def _sample(self, draw: Draw, number: int) -> list[Candidate]:
        if least := draw.least_violating():
            return self._mutate_least_violating(least, number)
        return [Candidate(self._space.sample(self._state.rng)) for _ in range(number)]

    def _mutate_least_violating(self, least: list[Candidate], number: int) -> list[Candidate]:
        """Return mutants of candidates, which count as children of the same parents."""
        rng = self._state.rng
        chosen = [least[i] for i in rng.integers(len(least), size=number).tolist()]
        return [Candidate(self._space.repair(self._space.mutate(one.genome, rng)), one.parents) for one in chosen]

    def _breed(self, draw: Draw, parents: Population, number: int) -> list[Candidate]:
        if least := draw.least_violating():
            return self._mutate_least_violating(least, number)
        if self._state.rates is None:
            return self._mate(AS_CONFIGURED, parents, number)
        drawn = self._state.rates.draw(number, self._state.rng)
        counts = {setting: drawn.count(setting) for setting in sorted(set(drawn))}
        children = [self._mate(setting, parents, count)[:count] for setting, count in counts.items()]
        return [candidate for some in children for candidate in some]

    def _mate(self, setting: Setting, pop: Population, number: int) -> list[Candidate]:
        """Return at least `number` children, all made in one way."""
        algorithm, rng = self._state.algorithm, self._state.rng
        crossover = self._crossover if setting.crossed and algorithm.crosses else self._copy
        matings = math.ceil(number / crossover.n_offsprings)
        parents = algorithm.selection(self._problem, pop, matings, n_parents=crossover.n_parents, random_state=rng)
        children = crossover(self._problem, parents, random_state=rng)
        children = self._mutations[setting.factor](self._problem, children, random_state=rng)
        return [Candidate(self._repair(child.X.tolist()), child.get("parents"), setting) for child in children]

    def _repair(self, values: Sequence[int]) -> Genome:
        """Return the nearest genome of the space, and count those that were none before."""
        genome = self._space.repair(values)
        self.repaired += genome != tuple(values)
        return genome
