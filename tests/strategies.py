"""Random genomes for property tests."""

from hypothesis import strategies as st

from star.genome import Space
from star.genome.space import CLASS_ALPHABET


def genomes(min_slots: int = 1, max_slots: int = 8, deck: str = "extended"):
    """Any backbone over a named deck, shrinking towards slots that are empty or of class 1 and share nothing."""

    def of_depth(num_slots: int):
        return st.tuples(*_backbone(Space(num_slots, deck)))

    return st.integers(min_slots, max_slots).flatmap(of_depth)


def three_level_genomes(min_slots: int = 1, max_slots: int = 8):
    """Any genome with a deck of its own, half as many classes as slots: uniform integers, repaired."""

    def of_depth(num_slots: int):
        space = Space(num_slots, "extended", levels="all")
        classes = [st.sampled_from(values) for values in CLASS_ALPHABET] * space.num_classes
        return st.tuples(st.just(-space.num_classes), *classes, *_backbone(space)).map(space.repair)

    return st.integers(min_slots, max_slots).flatmap(of_depth)


def any_genomes(min_slots: int = 1, max_slots: int = 8):
    """Genomes of either kind."""
    return genomes(min_slots, max_slots) | three_level_genomes(min_slots, max_slots)


def _backbone(space: Space) -> list:
    low, high = space.bounds()
    return [st.integers(int(a), int(b)) for a, b in zip(low, high, strict=True)]
