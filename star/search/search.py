"""One search, asked and told: generation by generation, or one genome at a time while others are being evaluated.

Ours are the operators (sampling, crossover, mutation and repair, as `genome.Space` has them), the elimination of
duplicates by canonical form and the bookkeeping; tournaments, survival and reference directions are pymoo's. What the
next `ask` depends on is plain: the survivors in their order with rank and crowding, the state of one generator, and the
few numbers that some algorithms keep.
"""

import json
import logging
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from pymoo.core.population import Population

from star.architecture.genome import canonical
from star.errors import UserError
from star.records import Generation, Genome, Individual
from star.search.algorithms import ALGORITHMS
from star.search.breeding import Breeding
from star.search.candidates import Judge, judged
from star.search.plan import Constraints, Plan, Proposal, Unlimited
from star.search.rates import Setting
from star.search.sieve import Draft, Sieve

log = logging.getLogger(__name__)


class Search:
    """A search by `plan.algorithm`: `ask` for proposals, evaluate them, `tell`, and again, in any interleaving.

    The first `population` proposals are `seeds` and fresh samples, the later ones children of whatever survivors there
    are (samples, if there are fewer than two). Asked and told generation by generation this is the algorithm of its
    source; asked for one at a time, as workers become free, it is its steady-state form. Every random draw comes from
    one generator seeded by `plan.seed`.

    A genome that violates `constraints` is drawn again, some tens of times for each place; where nothing else is found,
    the least violating are proposed. They are not to be evaluated: Deb's rules tell what becomes of them.

    UserError if the rates of an algorithm that has no operators are to adapt.
    """

    def __init__(self, plan: Plan, constraints: Constraints | None = None, seeds: tuple[Genome, ...] = ()) -> None:
        assert min(plan.population, plan.num_objectives) > 0 <= plan.seed
        self._plan = plan
        self._algorithm = ALGORITHMS[plan.algorithm].kind(plan)
        if plan.adaptive and not self._algorithm.breeds:
            raise UserError(f"algorithm {plan.algorithm} breeds nothing, so that it has no rates to adapt")
        self._rng = np.random.default_rng(plan.seed)
        self._judge = Judge(plan, constraints or Unlimited())
        self._sieve = Sieve(self._judge.violation)
        self._breeding = Breeding(plan, self._algorithm, self._judge.problem, self._sieve)
        self._seeds = list(seeds[: plan.population])
        self._survivors: tuple[Individual, ...] = ()
        self._pop = Population()  # the survivors as pymoo sees them
        self._forms: dict[int, Genome] = {}  # canonical, of survivors and outstanding proposals, by id
        self._outstanding: dict[int, tuple[Proposal, Setting | None]] = {}
        self.next_id = 0

    @property
    def outstanding(self) -> tuple[Proposal, ...]:
        """What was asked and is not yet told, in order of id."""
        return tuple(proposal for proposal, _ in self._outstanding.values())

    @property
    def duplicates_avoided(self) -> int:
        """Samples and children dropped so far because their canonical form was there already."""
        return self._sieve.avoided

    @property
    def turned_away(self) -> int:
        """Samples and children so far that violated a constraint, those proposed nevertheless included."""
        return self._sieve.turned_away

    @property
    def refused(self) -> Sequence[Genome]:
        """Those of them that the last `ask` met, so that somebody can ask why."""
        return self._sieve.refused

    @property
    def repaired(self) -> int:
        """Children so far, dropped ones included, that were no genome of the space until they were repaired."""
        return self._breeding.repaired

    def ask(self, number: int) -> list[Proposal]:
        """The next genomes to evaluate, no two of them, of the population and of what is outstanding with one
        canonical form.

        Fewer than `number`, or none, only when the space holds no more: a warning is logged then.
        """
        self._sieve.expect(number)
        first = min(number, max(0, self._plan.population - self.next_id))
        drafts = self._breeding.first(self._seeds, first, self._rng) if first else []
        if len(drafts) == first < number:
            drafts += self._breeding.later(self._parents(), number - first, self._rng)
        if len(drafts) < number:
            log.warning("the space of genomes is exhausted: %d new ones instead of %d", len(drafts), number)
        return [self._propose(draft) for draft in drafts]

    def tell(self, individuals: Sequence[Individual]) -> tuple[Individual, ...]:
        """The survivors among population and `individuals`, `population` at most, with rank and crowding.

        `individuals` are any of the outstanding proposals, in any order. Rank 0 is the non-dominated front of all
        that competed, or, where survival does not depend on it (`regularised`, `ga`), of the survivors. An individual
        that is not sound ranks behind every sound one and never has rank 0.
        """
        told = sorted(individuals, key=lambda individual: individual.id)
        ids = [one.id for one in told]
        assert len(set(ids)) == len(ids) and set(ids) <= self._outstanding.keys(), "told what was not asked"
        if told:
            settings = {id: self._outstanding.pop(id)[1] for id in ids}
            pool = Population.merge(self._pop, self._judge.population(told))
            self._pop = self._algorithm.survive(self._judge.problem, pool, len(told), self._rng)
            self._reward(settings, pool)
            known = {one.id: one for one in (*self._survivors, *told)}
            self._survivors = judged(known, self._pop)
            for id in known.keys() - {one.id for one in self._survivors}:
                self._sieve.present.discard(self._forms.pop(id))
        return self._survivors

    def snapshot(self) -> str:
        """The state of the generator, and what else there is to know besides the survivors, as JSON. Taken after
        `tell`, with nothing outstanding, it is what `restore` goes on from."""
        rates = self._breeding.rates
        kept = {
            "algorithm": self._algorithm.state(),
            "rates": rates.state() if rates else {},
            "seeds": self._seeds,
        }
        state: dict[str, Any] = dict(self._rng.bit_generator.state)
        return json.dumps(state | {name: value for name, value in kept.items() if value})

    @classmethod
    def restore(cls, plan: Plan, generation: Generation, constraints: Constraints | None = None) -> Self:
        """The search as it was after the `tell` that gave `generation`.

        UserError if the generation does not belong to a search of this space.
        """
        search, space = cls(plan, constraints), plan.space
        for individual in generation.individuals:
            if len(individual.genome) != space.length or space.repair(individual.genome) != individual.genome:
                raise UserError(
                    f"generation {generation.number} holds a genome that {space.num_slots} slots, deck {space.deck} "
                    f"and levels {space.levels} cannot give: the run was made with others"
                )
        try:
            search._set_state(dict(json.loads(generation.rng_state)))
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"generation {generation.number} holds no generator state: {error}") from error
        if generation.individuals:
            search._pop = search._judge.population(generation.individuals)
        search._survivors = generation.individuals
        search._forms = {one.id: canonical(one.genome) for one in generation.individuals}
        search._sieve.present = set(search._forms.values())
        search._sieve.avoided = generation.duplicates_avoided
        search._sieve.turned_away = generation.turned_away
        search._breeding.repaired = generation.repaired
        search.next_id = generation.next_id
        return search

    def _set_state(self, state: dict[str, Any]) -> None:
        kept = {name: state.pop(name) for name in ("algorithm", "rates", "seeds") if name in state}
        self._rng.bit_generator.state = state
        self._algorithm.set_state(kept.get("algorithm", {}))
        if self._breeding.rates:
            self._breeding.rates.set_state(kept["rates"])
        self._seeds = [tuple(genome) for genome in kept.get("seeds", [])]

    def _parents(self) -> Population:
        """The population, if there is anything to breed from."""
        least = min(2, self._plan.population)
        return self._pop if self._algorithm.breeds and len(self._pop) >= least else Population()

    def _propose(self, draft: Draft) -> Proposal:
        proposal = Proposal(id=self.next_id, genome=draft.genome, parents=draft.parents)
        self._outstanding[proposal.id] = (proposal, draft.setting)
        self._forms[proposal.id] = draft.form
        self.next_id += 1
        return proposal

    def _reward(self, settings: dict[int, Setting | None], pool: Population) -> None:
        """Rewards the settings of children by whether these succeeded, once there is competition for places."""
        rates = self._breeding.rates
        if rates is None or len(pool) <= self._plan.population:
            return
        best = self._algorithm.succeed(self._judge.problem, pool, self._pop, self._rng)
        alive = {candidate.get("id") for candidate in best}
        for id, setting in settings.items():
            if setting is not None:
                rates.reward(setting, float(id in alive))
