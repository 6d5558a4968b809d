"""Trained weights that a child begins with in place of random ones, from the slots that it has in common with a parent.

Lamarckian inheritance, as in evolution of image classifiers (Real et al. 2017, arXiv:1703.01041) and by morphisms
(Elsken et al. 2018, arXiv:1804.09081); here nothing is morphed: a slot that changed begins at random.
"""

from collections.abc import Callable, Sequence

from star.architecture.genome import decode, genes_of
from star.architecture.spec import Slot
from star.records import Arrays, Genome, Individual, Status

# Modules whose weights are named NAME.SLOT.rest; all others belong to no slot.
OF_SLOTS = ("layers", "norms", "post_norms", "shifts")


class WeightsLost(Exception):
    """The weights of the architecture with this hash are not on disk any more."""


def inherit(child: Genome, parents: Sequence[tuple[Genome, Arrays]]) -> Arrays:
    """The weights that a child takes from its parents, by name; of one scale all of them. Empty without parents.

    Slot i takes those of slot i of the first parent in which it is the same: of the same class, computing with the
    weights and the features of the same slots, and these slots taken from that parent too. What belongs to no slot
    (embedding, last norm, head) is the first parent's. Shared weights are named by the slot that owns them.
    """
    if not parents:
        return {}
    sources = _sources(decode(child), [decode(genome) for genome, _ in parents])
    taken = {name: array for name, array in parents[0][1].items() if _slot_of(name) is None}
    for number, (_, arrays) in enumerate(parents):
        for name, array in arrays.items():
            slot = _slot_of(name)
            if slot is not None and slot < len(sources) and sources[slot] == number:
                taken[name] = array
    return taken


def inherit_trained(child: Genome, parents: Sequence[Individual], load: Callable[[str], Arrays | None]) -> Arrays:
    """Return what a child takes from those of its parents that were trained to the end; `load` gives their weights.

    Raises:
        WeightsLost: there are none of a parent.
    """
    known = []
    for one in parents:
        if one.status is Status.OK:
            if (arrays := load(one.hash)) is None:
                raise WeightsLost(one.hash)
            known.append((one.genome, arrays))
    return inherit(child, known)


def _sources(child: Sequence[Slot], parents: Sequence[Sequence[Slot]]) -> list[int | None]:
    """For each slot of the child, the number of the parent that it is taken from."""
    found: list[int | None] = []
    for i, slot in enumerate(child):
        needed = {*slot.weights_from, *slot.features_from} - {i}
        same = (
            number
            for number, slots in enumerate(parents)
            if i < len(slots) and _is_same(slot, slots[i]) and all(found[j] == number for j in needed)
        )
        found.append(next(same, None))
    return found


def _is_same(one: Slot, other: Slot) -> bool:
    return one[2:] == other[2:] and genes_of(one.liv) == genes_of(other.liv)


def _slot_of(name: str) -> int | None:
    """The slot that a weight belongs to; None if it belongs to the whole model."""
    kind, _, rest = name.partition(".")
    return int(rest.partition(".")[0]) if kind in OF_SLOTS else None
