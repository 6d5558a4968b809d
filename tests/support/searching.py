"""A search of a small space without any training: objectives are computed from the genome alone."""

import numpy as np

from star.architecture.genome import Rates, Space, genome_hash
from star.records import Generation, Individual, Status
from star.search.plan import Plan
from star.search.search import Search

SPACES = {
    "paper": Space(3),
    "extended": Space(3, "extended"),
    "own decks": Space(3, "extended", "all", Rates(operator_mutation=0.2, featurizer_crossover=0.5)),
}
SIZES = {"population": 8, "space": SPACES["paper"], "num_objectives": 3}
OFFSPRING = 6


def make(seed=0, constraints=None, seeds=(), **changes):
    """Begin a search; what differs from SIZES, by name."""
    return Search(Plan(**SIZES | changes, seed=seed), constraints, seeds)


def ask(search):
    """Ask for the next generation."""
    return search.ask(OFFSPRING if search.next_id else SIZES["population"])


def measure(proposal, generation, fails=lambda proposal: False, num_objectives=3):
    """Evaluate a proposal: integer objectives with ties, computed from the genome alone."""
    classes = np.array(proposal.genome[::5])
    values = {"z": classes.sum() % 7, "y": (17 - classes).sum() % 5, "x": abs(np.diff(classes, append=3)).sum() % 6}
    failed = fails(proposal)
    return Individual(
        id=proposal.id,
        genome=proposal.genome,
        hash=genome_hash(proposal.genome),
        generation=generation,
        parents=proposal.parents,
        status=Status.DIVERGED if failed else Status.OK,
        objectives={} if failed else {name: float(values[name]) for name in "zyx"[:num_objectives]},
        rank=0,
        crowding=0.0,
    )


def record(search, number, survivors):
    """Write down a generation as a run does, from which a search can be restored."""
    return Generation(
        number=number,
        individuals=survivors,
        front=(),
        rng_state=search.snapshot(),
        next_id=search.next_id,
        evaluations=search.next_id,
        duplicates_avoided=search.duplicates_avoided,
        repaired=search.repaired,
        failures={},
        hypervolume=0.0,
        turned_away=search.rejected_infeasible,
    )
