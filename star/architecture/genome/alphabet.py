"""The five genes of a slot and the values that they may take (Thomas et al. 2024, arXiv:2411.17800)."""

from dataclasses import dataclass

from star.architecture.genome.deck import CLASSES

GENES_PER_SLOT = 5


@dataclass(frozen=True, slots=True)
class Gene:
    """One position of a slot. `high` is 0 where the range depends on the depth of the backbone."""

    name: str
    low: int
    high: int
    meaning: str

    def highest(self, num_slots: int) -> int:
        """Return the largest value that this gene takes in a backbone of `num_slots`."""
        return self.high or num_groups(num_slots)


def num_groups(num_slots: int) -> int:
    """Return the number of sharing groups: half the slots, since a group needs two, but at least one."""
    return max(1, num_slots // 2)


GENES = (
    Gene(
        "class",
        0,
        max(CLASSES),
        "operator class: a row of the deck, which gives operator and featurizer genome; 0 leaves the slot empty",
    ),
    Gene("featurizer-sharing group", 1, 0, "which slots of this class may share featurizer weights"),
    Gene("featurizer-sharing strategy", 1, 2, "1 no weights are shared, 2 all weights are shared"),
    Gene("feature-sharing group", 1, 0, "which slots of this class may share computed features"),
    Gene(
        "feature-sharing strategy",
        1,
        4,
        "1 none, 2 the first shareable feature group, 3 the second, 4 both (B and V; C and V if memoryless)",
    ),
)
assert len(GENES) == GENES_PER_SLOT
