"""pymoo's operators, filled with what `star.genome` knows of genomes.

Each draws from the generator that pymoo hands down: where none comes, pymoo would draw from the system's
entropy, and the search could not be repeated.
"""
# pymoo annotates its hooks as returning None and its generators as None, and passes keywords it does not declare.
# pyright: reportIncompatibleMethodOverride=false, reportArgumentType=false

from collections.abc import Callable, Sequence

import numpy as np
from pymoo.algorithms.moo.nsga2 import binary_tournament
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.individual import Individual as Candidate
from pymoo.core.infill import InfillCriterion
from pymoo.core.mating import Mating
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.repair import Repair
from pymoo.core.sampling import Sampling
from pymoo.operators.selection.tournament import TournamentSelection

from star.genome import Space, canonical
from star.records import Genome

FRESH_ROUNDS = 1_000  # fruitless draws before the space counts as exhausted
TRIES = 50  # infeasible draws for each place of a generation, before some of them are taken
BLIND = 25  # of these, before draws begin to descend from the least violating ones


def genome_of(candidate: Candidate) -> Genome:
    """The genome that pymoo carries as a row of integers."""
    return tuple(candidate.X.tolist())


class Distinct(DuplicateElimination):
    """Drops a candidate whose canonical form is there already, and counts what it dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.avoided = 0

    def _do(self, pop, other, is_duplicate):
        seen = set() if other is None else {canonical(genome_of(candidate)) for candidate in other}
        for i, candidate in enumerate(pop):
            form = canonical(genome_of(candidate))
            is_duplicate[i] = form in seen
            if other is None:
                seen.add(form)
        self.avoided += int(is_duplicate.sum())
        return is_duplicate


class Feasible(Distinct):
    """Drops besides what violates a constraint, and counts it. When that has happened too often in one generation,
    those dropped so far come back, least violating first, and no more are dropped."""

    def __init__(self, violation: Callable[[Genome], float]) -> None:
        super().__init__()
        self.turned_away = 0
        self.refused: list[Genome] = []  # those of this generation
        self._violation = violation
        self._wanted = 0
        self._patience = 0
        self._reserve: dict[Genome, tuple[float, Candidate]] = {}  # by canonical form

    def expect(self, wanted: int) -> None:
        """A generation of so many is about to be drawn."""
        self._wanted, self._patience, self._reserve, self.refused = wanted, TRIES * wanted, {}, []

    def nearest(self) -> list[Candidate]:
        """The least violating of those dropped, as many as places; none as long as there is hope without them."""
        if self._patience > (TRIES - BLIND) * self._wanted:
            return []
        return self._least()[: self._wanted]

    def _least(self) -> list[Candidate]:
        return [candidate for _, candidate in sorted(self._reserve.values(), key=lambda one: one[0])]

    def admit(self, pop):
        """Distinct candidates that nobody drew: violations are counted, but none of them is dropped."""
        pop = super().do(pop)
        self._refuse([genome_of(candidate) for candidate in pop if self._violation(genome_of(candidate)) > 0])
        return pop

    def do(self, pop, *args, **kwargs):
        pop = super().do(pop, *args, **kwargs)
        violations = np.array([self._violation(genome_of(candidate)) for candidate in pop])
        feasible = pop[violations == 0]
        beyond = len(pop) - len(feasible)
        self._refuse([genome_of(candidate) for candidate, one in zip(pop, violations, strict=True) if one > 0])
        self._patience -= beyond
        for violation, candidate in zip(violations, pop, strict=True):
            if violation > 0:
                self._reserve.setdefault(canonical(genome_of(candidate)), (violation, candidate))
        if self._patience > 0 or not beyond:
            return feasible
        least, self._reserve = self._least(), {}
        return Population.merge(feasible, Population(least))

    def _refuse(self, genomes: list[Genome]) -> None:
        self.turned_away += len(genomes)
        self.refused += genomes


class Fresh(InfillCriterion):
    """Uniform samples, drawn until there are as many distinct ones as wanted. Where almost all violate a constraint,
    they give way to mutants of the least violating: to know a violation costs nothing."""

    def __init__(self, space: Space, distinct: Feasible) -> None:
        super().__init__(eliminate_duplicates=distinct, n_max_iterations=FRESH_ROUNDS)
        self.space = space
        self.distinct = distinct

    def _do(self, problem, pop, n_offsprings, random_state=None):
        if nearest := self.distinct.nearest():
            return self.descend(nearest, n_offsprings, random_state)
        genomes = [self.space.sample(random_state) for _ in range(n_offsprings)]
        return Population.new(X=np.array(genomes, dtype=np.int64))

    def descend(self, nearest: list[Candidate], number: int, rng: np.random.Generator) -> Population:
        """Mutants of candidates, which count as children of the same parents."""
        chosen = [nearest[i] for i in rng.integers(len(nearest), size=number).tolist()]
        genomes = [self.space.repair(self.space.mutate(genome_of(candidate), rng)) for candidate in chosen]
        mutants = Population.new(X=np.array(genomes, dtype=np.int64))
        mutants.set("parents", [candidate.get("parents") or () for candidate in chosen])
        return mutants


class FirstGeneration(Sampling):
    """Given genomes, then fresh samples. pymoo drops duplicates from its first generation, but draws none in their
    place."""

    def __init__(self, fresh: Fresh, seeds: Sequence[Genome] = ()) -> None:
        super().__init__()
        self.fresh = fresh
        self.seeds = seeds

    def do(self, problem, n_samples, random_state=None, algorithm=None):
        if not self.seeds:
            return self.fresh.do(problem, Population(), n_samples, random_state=random_state)
        seeds = self.fresh.distinct.admit(Population.new(X=np.array(self.seeds, dtype=np.int64)))
        missing = n_samples - len(seeds)
        return Population.merge(seeds, self.fresh.do(problem, seeds, missing, random_state=random_state))


class FilledMating(Mating):
    """Tournament, crossover, mutation; where these find nothing new any more, fresh samples fill the rest."""

    def __init__(self, space: Space, fresh: Fresh, repair: "GenomeRepair", distinct: Distinct) -> None:
        super().__init__(
            TournamentSelection(func_comp=binary_tournament),
            TwoPointCrossover(space),
            GenomeMutation(space),
            repair=repair,
            eliminate_duplicates=distinct,
        )
        self.fresh = fresh

    def _do(self, problem, pop, n_offsprings, parents=None, random_state=None, **kwargs):
        if nearest := self.fresh.distinct.nearest():
            return self.fresh.descend(nearest, n_offsprings, random_state)
        return super()._do(problem, pop, n_offsprings, parents=parents, random_state=random_state, **kwargs)

    def do(self, problem, pop, n_offsprings, random_state=None, algorithm=None):
        children = super().do(problem, pop, n_offsprings, random_state=random_state, algorithm=algorithm)
        present = Population.merge(pop, children)
        missing = n_offsprings - len(children)
        return Population.merge(children, self.fresh.do(problem, present, missing, random_state=random_state))


class TwoPointCrossover(Crossover):
    """Two children of two parents, whose ids are written on the children."""

    def __init__(self, space: Space) -> None:
        super().__init__(n_parents=2, n_offsprings=2, prob=1.0)
        self.space = space

    def do(self, problem, pop, random_state=None, algorithm=None):
        children = super().do(problem, pop, random_state=random_state)
        parents = [tuple(dict.fromkeys(parent.get("id") for parent in pair)) for pair in pop]
        children.set("parents", parents * self.n_offsprings)  # pymoo lists all first children, then all second
        return children

    def _do(self, problem, X, random_state=None):
        first, second = X.tolist()
        pairs = [self.space.crossover(tuple(a), tuple(b), random_state) for a, b in zip(first, second, strict=True)]
        return np.array(pairs, dtype=np.int64).swapaxes(0, 1)


class GenomeMutation(Mutation):
    """Integers of each genome replaced with the probabilities of the space."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space

    def _do(self, problem, X, random_state=None, algorithm=None):
        return np.array([self.space.mutate(tuple(row), random_state) for row in X.tolist()], dtype=np.int64)


class GenomeRepair(Repair):
    """The nearest genome of the space; counts those that were none before."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space
        self.count = 0

    def _do(self, problem, X, random_state=None, algorithm=None):
        repaired = np.array([self.space.repair(row) for row in X.tolist()], dtype=np.int64)
        self.count += int((repaired != X).any(axis=1).sum())
        return repaired
