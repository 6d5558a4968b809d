"""Random genomes for property tests."""

from hypothesis import strategies as st

from star.genome import gene_bounds


def genomes(min_slots: int = 1, max_slots: int = 8):
    """Any genome within range, shrinking towards slots of class 1 that share nothing."""

    def of_depth(num_slots: int):
        low, high = gene_bounds(num_slots)
        return st.tuples(*(st.integers(int(a), int(b)) for a, b in zip(low, high, strict=True)))

    return st.integers(min_slots, max_slots).flatmap(of_depth)
