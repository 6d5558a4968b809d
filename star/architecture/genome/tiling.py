"""Repetition of a period of slots to any depth."""

from functools import lru_cache

from star.architecture.genome.alphabet import GENES_PER_SLOT
from star.architecture.genome.codec import join, split
from star.architecture.genome.decoding import canonical
from star.records import Genome

GROUP_GENES = (1, 3)  # places in a slot of the two sharing groups


@lru_cache(maxsize=65_536)
def tile(genome: Genome, num_slots: int) -> Genome:
    """Return the backbone repeated to `num_slots` slots, its end cut off, in canonical form.

    Each copy has sharing groups of its own: what one copy shares within itself every copy does, and no two copies share
    anything. A backbone as long as asked for is only brought into canonical form; one that is longer is cut.
    """
    classes, period = split(genome)
    length = num_slots * GENES_PER_SLOT
    if len(period) >= length:
        return canonical(join(classes, period[:length]))
    numbers = {place: max(period[place::GENES_PER_SLOT]) for place in GROUP_GENES}
    slots: list[int] = []
    for copy in range(-(-length // len(period))):
        for i, value in enumerate(period):
            slots.append(value + copy * numbers.get(i % GENES_PER_SLOT, 0))
    return canonical(join(classes, tuple(slots[:length])))
