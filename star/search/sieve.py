"""What is not proposed: genomes that are there already, and, as long as others turn up, those beyond a limit."""

from collections.abc import Callable
from dataclasses import dataclass

from star.architecture.genome import canonical
from star.records import Genome
from star.search.rates import Setting

TRIES = 50  # infeasible draws for each place, before some of them are taken
BLIND = 25  # of these, before draws begin to descend from the least violating ones


@dataclass(slots=True)
class Draft:
    """A genome that may become a proposal, the ids of its parents, and the setting that made it, if one did."""

    genome: Genome
    parents: tuple[int, ...] = ()
    setting: Setting | None = None
    form: Genome = ()  # canonical, once it has been through the sieve


class Sieve:
    """Drops a draft whose canonical form is present or that violates a constraint, and counts what it dropped. When
    violations have come up too often in one `ask`, those dropped for it come back, least violating first, and no more
    are dropped."""

    def __init__(self, violation: Callable[[Genome], float]) -> None:
        self.present: set[Genome] = set()  # canonical forms of population, outstanding proposals and drafts taken
        self.avoided = 0
        self.turned_away = 0
        self.refused: list[Genome] = []  # those of this `ask`
        self._violation = violation
        self._wanted = 0
        self._patience = 0
        self._reserve: dict[Genome, tuple[float, Draft]] = {}  # by canonical form

    def expect(self, wanted: int) -> None:
        """So many are about to be drawn."""
        self._wanted, self._patience, self._reserve, self.refused = wanted, TRIES * wanted, {}, []

    def nearest(self) -> list[Draft]:
        """The least violating of those dropped, as many as places; none as long as there is hope without them."""
        if self._patience > (TRIES - BLIND) * self._wanted:
            return []
        return self._least()[: self._wanted]

    def admit(self, draft: Draft) -> list[Draft]:
        """A draft that nobody drew, if it is new: its violation is counted, but does not drop it."""
        new = self._new([draft])
        self._refuse([one.genome for one in new if self._violation(one.genome) > 0])
        self.present |= {one.form for one in new}
        return new

    def fill(self, drafts: list[Draft], wanted: int, rounds: int, draw: Callable[[int], list[Draft]]) -> None:
        """Add to `drafts` what passes of `draw(missing)`, until there are as many as wanted or all rounds are over."""
        for _ in range(rounds):
            missing = wanted - len(drafts)
            if missing <= 0:
                return
            for draft in self._passing(draw(missing))[:missing]:
                if draft.form not in self.present:  # one that came back can have been overtaken by its equal
                    self.present.add(draft.form)
                    drafts.append(draft)

    def _new(self, drafts: list[Draft]) -> list[Draft]:
        new: dict[Genome, Draft] = {}
        for draft in drafts:
            draft.form = canonical(draft.genome)
            if draft.form not in self.present:
                new.setdefault(draft.form, draft)
        self.avoided += len(drafts) - len(new)
        return list(new.values())

    def _passing(self, drafts: list[Draft]) -> list[Draft]:
        rated = [(self._violation(draft.genome), draft) for draft in self._new(drafts)]
        feasible = [draft for violation, draft in rated if violation == 0]
        beyond = [(violation, draft) for violation, draft in rated if violation > 0]
        self._refuse([draft.genome for _, draft in beyond])
        self._patience -= len(beyond)
        for violation, draft in beyond:
            self._reserve.setdefault(draft.form, (violation, draft))
        if self._patience > 0 or not beyond:
            return feasible
        least, self._reserve = self._least(), {}
        return feasible + least

    def _least(self) -> list[Draft]:
        return [draft for _, draft in sorted(self._reserve.values(), key=lambda one: one[0])]

    def _refuse(self, genomes: list[Genome]) -> None:
        self.turned_away += len(genomes)
        self.refused += genomes
