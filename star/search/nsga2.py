"""pymoo's NSGA-II (Deb et al. 2002) over genomes.

Ours are the operators (sampling, crossover, mutation and repair, as `star.genome.Space` has them) and the elimination
of duplicates by canonical form; pymoo's are binary tournament and (mu + lambda) survival by rank and crowding. What
the next `ask` depends on is plain: the survivors in their order with rank and crowding, and the state of one generator.
"""
# pymoo annotates what `setup` and the first `tell` fill as None, and NSGA2's parts as its default parts.
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

from star.genome import Space
from star.records import Generation, Genome, Individual, Status
from star.search.front import is_sound, objective_values
from star.search.operators import Distinct, Feasible, FilledMating, FirstGeneration, Fresh, GenomeRepair, genome_of
from star.spec import UserError

PENALTY = 1e30  # an objective of a failed individual: never compared, only finite; violation of what cannot be built

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A genome to evaluate. `id` counts proposals as asked; `parents` are ids, none for a fresh sample."""

    id: int
    genome: Genome
    parents: tuple[int, ...]


class Constraints(Protocol):
    """Limits on genomes that are known without evaluating them, as those of `star.target.Screen`."""

    limits: dict[str, float]

    def violations(self, genome: Genome) -> tuple[float, ...] | None:
        """How far beyond each limit a genome is, positive if it is; None if it has no meaning at all."""


class Unlimited:
    """No constraints."""

    limits: dict[str, float] = {}

    def violations(self, genome: Genome) -> tuple[float, ...] | None:
        return ()


class Search:
    """NSGA-II from generation to generation: `ask`, evaluate, `tell`, and again.

    `population` survive each generation, `offspring` are proposed in each but the first, which proposes
    `population` samples, `seeds` the first of them. Every random draw comes from one generator seeded by `seed`.

    A genome that violates `constraints` is drawn again, some tens of times for each place; where nothing else is found,
    the least violating are proposed. They are not to be evaluated: Deb's rules tell what becomes of them.
    """

    def __init__(
        self,
        population: int,
        offspring: int,
        space: Space,
        num_objectives: int,
        seed: int,
        constraints: Constraints | None = None,
        seeds: tuple[Genome, ...] = (),
    ) -> None:
        assert min(population, offspring, num_objectives) > 0 <= seed
        self._constraints = constraints or Unlimited()
        self._distinct = Feasible(self._violation)
        self._repair = GenomeRepair(space)
        fresh = Fresh(space, self._distinct)
        self._algorithm = NSGA2(
            pop_size=population,
            n_offsprings=offspring,
            sampling=FirstGeneration(fresh, seeds[:population]),
            repair=self._repair,
            eliminate_duplicates=Distinct(),
            mating=FilledMating(space, fresh, self._repair, self._distinct),
            survival=RankAndCrowding(),
            output=None,
        )
        # The first constraint is that the evaluation did not fail.
        columns = 1 + len(self._constraints.limits)
        self._problem = Problem(n_var=space.length, n_obj=num_objectives, n_ieq_constr=columns, vtype=int)
        self._algorithm.setup(self._problem, seed=seed, termination=NoTermination())
        self._survivors: tuple[Individual, ...] = ()
        self._asked: tuple[int, ...] | None = None
        self.next_id = 0

    @property
    def duplicates_avoided(self) -> int:
        """Samples and children dropped so far because their canonical form was there already."""
        return self._distinct.avoided

    @property
    def turned_away(self) -> int:
        """Samples and children so far that violated a constraint, those proposed nevertheless included."""
        return self._distinct.turned_away

    @property
    def refused(self) -> Sequence[Genome]:
        """Those of them that the last `ask` met, so that somebody can ask why."""
        return self._distinct.refused

    @property
    def repaired(self) -> int:
        """Children so far, dropped ones included, that were no genome of the space until they were repaired."""
        return self._repair.count

    def ask(self) -> list[Proposal]:
        """The next generation to evaluate, no two of it or of the population with one canonical form.

        Fewer than asked for, or none, only when the space holds no more: a warning is logged then.
        """
        assert self._asked is None, "tell the last generation before asking for the next"
        algorithm = self._algorithm
        wanted = algorithm.n_offsprings if algorithm.is_initialized else algorithm.pop_size
        assert wanted is not None
        self._distinct.expect(wanted)
        children = algorithm.ask()
        if children is None:  # pymoo then ends the run, which is ours to decide
            algorithm.termination.force_termination = False
            children = Population()
        if len(children) < wanted:
            log.warning("the space of genomes is exhausted: %d new ones instead of %d", len(children), wanted)
        proposals = [
            Proposal(id=id, genome=genome_of(child), parents=child.get("parents") or ())
            for id, child in enumerate(children, start=self.next_id)
        ]
        self.next_id += len(proposals)
        self._asked = tuple(proposal.id for proposal in proposals)
        return proposals

    def tell(self, individuals: Sequence[Individual]) -> tuple[Individual, ...]:
        """The survivors among population and `individuals`, with rank and crowding.

        `individuals` are the proposals of the last `ask`, in any order. Rank 0 is the non-dominated front of
        all that competed; a failed individual ranks behind every sound one and never has rank 0.
        """
        children = sorted(individuals, key=lambda individual: individual.id)
        assert tuple(child.id for child in children) == self._asked, "told what was not asked"
        self._asked = None
        if children:
            self._algorithm.tell(infills=self._population(children))
            known = {individual.id: individual for individual in (*self._survivors, *children)}
            self._survivors = tuple(_judge(known, self._algorithm.pop))
        return self._survivors

    def snapshot(self) -> str:
        """The state of the generator, as JSON. Taken after `tell`, it is what `restore` goes on from."""
        return json.dumps(self._algorithm.random_state.bit_generator.state)

    @classmethod
    def restore(
        cls,
        population: int,
        offspring: int,
        space: Space,
        num_objectives: int,
        seed: int,
        generation: Generation,
        constraints: Constraints | None = None,
    ) -> Self:
        """The search as it was after the `tell` that gave `generation`.

        UserError if the generation does not belong to a search of this space.
        """
        search = cls(population, offspring, space, num_objectives, seed, constraints)
        algorithm = search._algorithm
        for individual in generation.individuals:
            if len(individual.genome) != space.length or space.repair(individual.genome) != individual.genome:
                raise UserError(
                    f"generation {generation.number} holds a genome that {space.num_slots} slots, deck {space.deck} "
                    f"and levels {space.levels} cannot give: the run was made with others"
                )
        try:
            algorithm.random_state.bit_generator.state = json.loads(generation.rng_state)
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"generation {generation.number} holds no generator state: {error}") from error
        algorithm.pop = search._population(generation.individuals)
        algorithm.n_iter = generation.number + 2  # pymoo counts from 1, and has stepped on after the tell
        algorithm.is_initialized = True
        search._survivors = generation.individuals
        search._distinct.avoided = generation.duplicates_avoided
        search._distinct.turned_away = generation.turned_away
        search._repair.count = generation.repaired
        search.next_id = generation.next_id
        return search

    def _population(self, individuals: Sequence[Individual]) -> Population:
        values = np.full((len(individuals), self._problem.n_obj), PENALTY)
        for row, individual in zip(values, individuals, strict=True):
            if is_sound(individual):
                assert len(individual.objectives) == self._problem.n_obj, individual.objectives
                row[:] = objective_values(individual)
        return Population.new(
            X=np.array([individual.genome for individual in individuals], dtype=np.int64),
            F=values,
            G=np.array([self._columns(individual) for individual in individuals]),
            id=[individual.id for individual in individuals],
            rank=[individual.rank for individual in individuals],
            crowding=[individual.crowding for individual in individuals],
        )

    def _columns(self, individual: Individual) -> list[float]:
        """Pymoo's constraints: whether the evaluation failed, then the limits."""
        violations = self._constraints.violations(individual.genome)
        if violations is None:
            return [PENALTY] + [0.0] * len(self._constraints.limits)
        untrained = individual.status is Status.INFEASIBLE and max(violations, default=0.0) > 0
        return [float(not is_sound(individual) and not untrained), *violations]

    def _violation(self, genome: Genome) -> float:
        """The sum of what a genome violates, as pymoo sums it: 0 if it may be evaluated."""
        violations = self._constraints.violations(genome)
        return PENALTY if violations is None else sum(max(0.0, value) for value in violations)


def _judge(known: dict[int, Individual], candidates: Population) -> list[Individual]:
    """The individuals behind `candidates`, with pymoo's rank and crowding: it gives them to sound ones only."""
    failed = candidates.get("CV")[:, 0] > 0
    last = 1 + max((candidate.get("rank") for candidate in candidates[~failed]), default=0)
    return [
        replace(
            known[candidate.get("id")],
            rank=last if fail else candidate.get("rank"),
            crowding=0.0 if fail else float(candidate.get("crowding")),
        )
        for candidate, fail in zip(candidates, failed, strict=True)
    ]
