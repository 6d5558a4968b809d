"""One search, asked and told: generation by generation, or one genome at a time while others are being evaluated.

Ours are the operators (sampling, crossover, mutation and repair, as `genome.Space` has them), the elimination of
duplicates by canonical form and the bookkeeping; tournaments, survival and reference directions are pymoo's. What the
next `ask` depends on is plain: the survivors in their order with rank and crowding, the state of one generator, and the
few numbers that some algorithms keep.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple, Self

from pymoo.core.population import Population

from star.architecture.genome import canonical
from star.errors import UserError
from star.records import Generation, Genome, Individual
from star.search.algorithms import ALGORITHMS
from star.search.candidate_filter import Candidate, CandidateFilter, Draw
from star.search.mating import Mating
from star.search.plan import Constraints, Plan, Proposal, Unlimited
from star.search.problem import ConstrainedProblem, from_pymoo
from star.search.rates import Setting
from star.search.state import SearchState

log = logging.getLogger(__name__)


class Proposed(NamedTuple):
    """New proposals, and the genomes met on the way to them that violate a constraint."""

    proposals: list[Proposal]
    rejected: list[Genome]


class Search:
    """A search by `plan.algorithm`: `ask` for proposals, evaluate them, `tell`, and again, in any interleaving.

    The first `population` proposals are `seeds` and fresh samples, the later ones children of whatever survivors there
    are (samples, if there are fewer than two). Asked and told generation by generation this is the algorithm of its
    source; asked for one at a time, as workers become free, it is its steady-state form. Every random draw comes from
    one generator seeded by `plan.seed`.

    A genome that violates `constraints` is drawn again, some tens of times for each place; where nothing else is found,
    the least violating are proposed. They are not to be evaluated: Deb's rules tell what becomes of them.

    Args:
        plan: what kind of search.
        constraints: limits on genomes.
        seeds: genomes to begin with, in a new search.
        generation: the one to go on from; None begins a new search.

    Raises:
        UserError: rates are to adapt that the algorithm does not have, or the generation holds no state of this search.
    """

    def __init__(
        self,
        plan: Plan,
        constraints: Constraints | None = None,
        seeds: tuple[Genome, ...] = (),
        generation: Generation | None = None,
    ) -> None:
        assert min(plan.population, plan.num_objectives) > 0 <= plan.seed
        if plan.adaptive and not ALGORITHMS[plan.algorithm].kind.breeds:
            raise UserError(f"algorithm {plan.algorithm} breeds nothing, so that it has no rates to adapt")
        self._plan = plan
        self._problem = ConstrainedProblem(plan, constraints or Unlimited())
        self._state = SearchState.load(plan, generation) if generation else SearchState.begin(plan, seeds)
        self._survivors = generation.individuals if generation else ()
        self._pop = self._problem.to_pymoo(self._survivors) if self._survivors else Population()
        # Canonical, of survivors and outstanding proposals, by id.
        self._forms = {one.id: canonical(one.genome) for one in self._survivors}
        counts = (generation.duplicates_avoided, generation.turned_away) if generation else (0, 0)
        self._filter = CandidateFilter(self._problem.violation, set(self._forms.values()), *counts)
        self._mating = Mating(plan, self._state, self._problem, generation.repaired if generation else 0)
        self._outstanding: dict[int, tuple[Proposal, Setting | None]] = {}
        self.next_id = generation.next_id if generation else 0

    @classmethod
    def restore(cls, plan: Plan, generation: Generation, constraints: Constraints | None = None) -> Self:
        """Return the search as it was after the `tell` that gave `generation`.

        Raises:
            UserError: the generation does not belong to a search of this space.
        """
        space = plan.space
        for individual in generation.individuals:
            if len(individual.genome) != space.length or space.repair(individual.genome) != individual.genome:
                raise UserError(
                    f"generation {generation.number} holds a genome that {space.num_slots} slots, deck {space.deck} "
                    f"and levels {space.levels} cannot give: the run was made with others"
                )
        return cls(plan, constraints, generation=generation)

    @property
    def outstanding(self) -> tuple[Proposal, ...]:
        """Return what was asked and is not yet told, in order of id."""
        return tuple(proposal for proposal, _ in self._outstanding.values())

    @property
    def duplicates_avoided(self) -> int:
        """Return how many samples and children were dropped so far because their canonical form was there already."""
        return self._filter.duplicates

    @property
    def rejected_infeasible(self) -> int:
        """Return how many samples and children so far violated a constraint, those proposed nevertheless included."""
        return self._filter.rejected_infeasible

    @property
    def repaired(self) -> int:
        """Return how many children so far, dropped ones included, were no genome of the space before repair."""
        return self._mating.repaired

    def ask(self, number: int) -> list[Proposal]:
        """Return the next genomes to evaluate, no two of them, of the population and of what is outstanding with one
        canonical form.

        Fewer than `number`, or none, only when the space holds no more: a warning is logged then.
        """
        return self.propose(number).proposals

    def propose(self, number: int) -> Proposed:
        """Return what `ask` returns, and what it rejected, so that somebody can ask why."""
        draw = Draw(self._filter, number)
        first = min(number, max(0, self._plan.population - self.next_id))
        if first:
            self._mating.begin(draw, first)
        if len(draw.taken) == first < number:
            self._mating.go_on(draw, self._parents(), number)
        if len(draw.taken) < number:
            log.warning("the space of genomes is exhausted: %d new ones instead of %d", len(draw.taken), number)
        return Proposed([self._number(one) for one in draw.taken], draw.rejected)

    def tell(self, individuals: Sequence[Individual]) -> tuple[Individual, ...]:
        """Return the survivors among population and `individuals`, `population` at most, with rank and crowding.

        `individuals` are any of the outstanding proposals, in any order. Rank 0 is the non-dominated front of all
        that competed, or, where survival does not depend on it (`regularised`, `ga`), of the survivors. An individual
        that does not compete ranks behind every one that does and never has rank 0.
        """
        told = sorted(individuals, key=lambda individual: individual.id)
        ids = [one.id for one in told]
        assert len(set(ids)) == len(ids) and set(ids) <= self._outstanding.keys(), "told what was not asked"
        if told:
            settings = {id: self._outstanding.pop(id)[1] for id in ids}
            pool = Population.merge(self._pop, self._problem.to_pymoo(told))
            self._pop = self._state.algorithm.survive(self._problem, pool, len(told), self._state.rng)
            self._reward(settings, pool)
            known = {one.id: one for one in (*self._survivors, *told)}
            self._survivors = from_pymoo(known, self._pop)
            for id in known.keys() - {one.id for one in self._survivors}:
                self._filter.present.discard(self._forms.pop(id))
        return self._survivors

    def rescore(self, survivors: tuple[Individual, ...]) -> None:
        """Give the survivors other objectives, as they count at the next `tell`: the same individuals in the same
        order."""
        assert [one.id for one in survivors] == [one.id for one in self._survivors], "the same survivors"
        self._survivors = survivors
        self._pop = self._problem.to_pymoo(survivors) if survivors else Population()

    def snapshot(self) -> str:
        """Return the state of the generator, and what else there is to know besides the survivors, as JSON. Taken after
        `tell`, with nothing outstanding, it is what `restore` goes on from."""
        return self._state.to_json()

    def _parents(self) -> Population:
        """Return the population, if there is anything to breed from."""
        least = min(2, self._plan.population)
        return self._pop if self._state.algorithm.breeds and len(self._pop) >= least else Population()

    def _number(self, candidate: Candidate) -> Proposal:
        proposal = Proposal(id=self.next_id, genome=candidate.genome, parents=candidate.parents)
        self._outstanding[proposal.id] = (proposal, candidate.setting)
        self._forms[proposal.id] = candidate.form
        self.next_id += 1
        return proposal

    def _reward(self, settings: dict[int, Setting | None], pool: Population) -> None:
        """Reward the settings of children by whether these succeeded, once there is competition for places."""
        rates, algorithm = self._state.rates, self._state.algorithm
        if rates is None or len(pool) <= self._plan.population:
            return
        best = algorithm.succeed(self._problem, pool, self._pop, self._state.rng)
        alive = {candidate.get("id") for candidate in best}
        for id, setting in settings.items():
            if setting is not None:
                rates.reward(setting, float(id in alive))
