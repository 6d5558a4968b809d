"""Drops candidates that are present already and, as long as others turn up, those beyond a limit."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from star.architecture.genome import canonical
from star.records import Genome
from star.search.rates import Setting

TRIES = 50  # infeasible draws for each place, before some of them are taken
BLIND = 25  # of these, before draws begin to descend from the least violating ones


@dataclass(slots=True)
class Candidate:
    """A genome that may become a proposal, the ids of its parents, and the setting that made it, if one did."""

    genome: Genome
    parents: tuple[int, ...] = ()
    setting: Setting | None = None
    form: Genome = field(init=False)  # canonical

    def __post_init__(self) -> None:
        self.form = canonical(self.genome)


@dataclass(slots=True)
class CandidateFilter:
    """Knows which canonical forms are present, and counts what was dropped.

    Args:
        violation: returns the sum of what a genome violates, 0 if it may be evaluated.
        present: canonical forms of the population, of outstanding proposals and of candidates taken.
        duplicates: candidates dropped so far because their form was present.
        rejected_infeasible: candidates so far that violated a constraint.
    """

    violation: Callable[[Genome], float]
    present: set[Genome]
    duplicates: int = 0
    rejected_infeasible: int = 0

    def drop_present(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Return the candidates whose forms are not present, each form once, and count the others."""
        candidates = list(candidates)
        new: dict[Genome, Candidate] = {}
        for one in candidates:
            if one.form not in self.present:
                new.setdefault(one.form, one)
        self.duplicates += len(candidates) - len(new)
        return list(new.values())


class Draw:
    """The candidates of one `ask` for `wanted` proposals. When too many have violated a constraint, those dropped for
    it come back, least violating first, and no more are dropped."""

    def __init__(self, filter: CandidateFilter, wanted: int) -> None:
        self.taken: list[Candidate] = []
        self.rejected: list[Genome] = []  # that violate a constraint, those taken nevertheless included
        self._filter = filter
        self._wanted = wanted
        self._patience = TRIES * wanted
        self._reserve: dict[Genome, tuple[float, Candidate]] = {}  # by canonical form

    def least_violating(self) -> list[Candidate]:
        """Return the least violating of those dropped, `wanted` at most; none before BLIND draws for each place."""
        if self._patience > (TRIES - BLIND) * self._wanted:
            return []
        return self._sorted_reserve()[: self._wanted]

    def admit(self, candidate: Candidate) -> None:
        """Take a seed if it is new: its violation is counted, but does not drop it."""
        for one in self._filter.drop_present([candidate]):
            self._reject([one.genome] if self._filter.violation(one.genome) > 0 else [])
            self._take(one)

    def fill(self, number: int, rounds: int, draw: Callable[[int], list[Candidate]]) -> None:
        """Take what passes of `draw(missing)`, until `number` are taken or all rounds are over."""
        for _ in range(rounds):
            missing = number - len(self.taken)
            if missing <= 0:
                return
            for one in self._passing(draw(missing))[:missing]:
                if one.form not in self._filter.present:  # one that came back can have been overtaken by its equal
                    self._take(one)

    def _take(self, candidate: Candidate) -> None:
        self._filter.present.add(candidate.form)
        self.taken.append(candidate)

    def _passing(self, candidates: list[Candidate]) -> list[Candidate]:
        rated = [(self._filter.violation(one.genome), one) for one in self._filter.drop_present(candidates)]
        feasible = [one for violation, one in rated if violation == 0]
        beyond = [(violation, one) for violation, one in rated if violation > 0]
        self._reject([one.genome for _, one in beyond])
        self._patience -= len(beyond)
        for violation, one in beyond:
            self._reserve.setdefault(one.form, (violation, one))
        if self._patience > 0 or not beyond:
            return feasible
        least, self._reserve = self._sorted_reserve(), {}
        return feasible + least

    def _sorted_reserve(self) -> list[Candidate]:
        return [candidate for _, candidate in sorted(self._reserve.values(), key=lambda one: one[0])]

    def _reject(self, genomes: list[Genome]) -> None:
        self._filter.rejected_infeasible += len(genomes)
        self.rejected += genomes
