"""Success of the variation operators: how often offspring of each kind survived and reached the front.

What a run records of an offspring that did not survive is its evaluation, without its parents. So the search is driven
once more from its record, as `star replay` does, without training.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from star.architecture.genome import split
from star.architecture.genome.alphabet import GENES, GENES_PER_SLOT
from star.architecture.genome.operator import GENES_PER_OPERATOR
from star.records import Genome
from star.run.replay import repeat
from star.storage.run_directory import RunDirectory

SAMPLE, CROSSOVER = "uniform sample", "crossover"
OPERATOR, FEATURIZER = "mutation: operator genome", "mutation: featurizer genome"
MUTATIONS = tuple(f"mutation: {gene.name}" for gene in GENES)
KINDS = (SAMPLE, CROSSOVER, *MUTATIONS, OPERATOR, FEATURIZER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """Numbers of offspring of one kind: of all, of those that entered the population, and of those that were on the
    front of a generation.
    """

    kind: str
    offspring: int
    survived: int
    on_front: int


def measure_success(run: RunDirectory) -> list[Success]:
    """Return the success of each kind of variation in a run, in the order of KINDS, without those that never occurred.
    An offspring counts for every kind that it shows. Seeds of the first generation count as samples.

    Raises:
        Differs: the record does not lead where it says.
        UserError: no run is there, or it has finished no generation.
    """
    generations, told = repeat(run)
    genomes = {one.id: one.genome for one in told}
    kinds = {one.id: kinds_of(one.genome, [genomes[id] for id in one.parents]) for one in told}
    survived = {one.id for generation in generations for one in generation.individuals}
    on_front = {one.id for generation in generations for one in generation.front}
    found = []
    for kind in KINDS:
        if own := {id for id, shown in kinds.items() if kind in shown}:
            counts = {"offspring": len(own), "survived": len(own & survived), "on_front": len(own & on_front)}
            found.append(Success(kind=kind, **counts))
    return found


def kinds_of(genome: Genome, parents: Sequence[Genome]) -> tuple[str, ...]:
    """Return the kinds of variation that an offspring shows: crossover if it has integers of each parent that the other
    lacks, and a mutation for each kind of integer that it has of neither parent.
    """
    if not parents:
        return (SAMPLE,)
    found = []
    names = _names(genome)
    if len(parents) == 2:
        pairs = list(zip(genome, *parents, strict=True))
        if any(own == a != b for own, a, b in pairs) and any(own == b != a for own, a, b in pairs):
            found.append(CROSSOVER)
    changed = {name for name, own, *old in zip(names, genome, *parents, strict=True) if own not in old}
    return (*found, *(kind for kind in KINDS if kind in changed))


def _names(genome: Genome) -> list[str]:
    """Return the kind of mutation that each integer of a genome stands for."""
    deck, backbone = split(genome)
    own = [OPERATOR] * bool(deck)  # the number of classes, which never changes
    for one in deck:
        own += [OPERATOR] * GENES_PER_OPERATOR + [FEATURIZER] * (len(one) - GENES_PER_OPERATOR)
    return own + list(MUTATIONS) * (len(backbone) // GENES_PER_SLOT)
