"""From integers to slots, and to the one spelling that all equal architectures share.

Sharing connects slots of one class only. Slots that name the same feature-sharing group and a strategy that
covers a feature group use the tensor computed by the shallowest of them; slots that name the same
featurizer-sharing group with strategy 2 compute with the weights of the shallowest of them that computes that
feature at all. Every vector within its gene's range therefore has a meaning, and genes without effect (a
group of one, a strategy that no partner answers) are spelled 1 in canonical form.
"""

from functools import lru_cache
from hashlib import sha256

from star.genome.codec import to_text
from star.genome.deck import PAPER, SHAREABLE
from star.records import Genome
from star.spec import Slot

# (class, feature-sharing strategy) -> indices of the feature groups that it names.
NAMED_GROUPS = {
    (class_id, strategy): tuple(SHAREABLE[liv.token_mixing][which] for which in whiches)
    for class_id, liv in PAPER.items()
    for strategy, whiches in {1: (), 2: (0,), 3: (1,), 4: (0, 1)}.items()
}


def decode(genome: Genome) -> tuple[Slot, ...]:
    """The slots that a genome describes, with the owner of every feature and every weight resolved."""
    producers: dict[tuple[int, int, int], int] = {}
    owners: dict[tuple[int, int, int], int] = {}
    slots = []
    genes = iter(genome)
    for i, (class_id, weight_group, weight_strategy, group, strategy) in enumerate(
        zip(genes, genes, genes, genes, genes, strict=True)
    ):
        liv = PAPER[class_id]
        features = weights = (i,) * len(liv.groups)
        if strategy > 1:
            shared = list(features)
            for index in NAMED_GROUPS[class_id, strategy]:
                shared[index] = producers.setdefault((class_id, group, index), i)
            features = tuple(shared)
        if weight_strategy == 2:
            weights = tuple(
                [
                    owners.setdefault((class_id, weight_group, index), i) if producer == i else i
                    for index, producer in enumerate(features)
                ]
            )
        slots.append(Slot(class_id, liv, weights, features))
    return tuple(slots)


@lru_cache(maxsize=65_536)
def canonical(genome: Genome) -> Genome:
    """The spelling shared by every genome that decodes to the same architecture.

    Each set of slots connected by what they really share becomes one group, numbered within its class by
    first appearance; all genes without effect become 1. Idempotent; decoding is unchanged by it.
    """
    slots = decode(genome)
    weight_labels = _label_groups(slots, [slot.weights_from for slot in slots])
    feature_labels = _label_groups(slots, [slot.features_from for slot in slots])
    result: list[int] = []
    for i, slot in enumerate(slots):
        first, second = (_is_shared(slots, i, index) for index in SHAREABLE[slot.liv.token_mixing])
        result += (
            slot.class_id,
            weight_labels[i] or 1,
            2 if weight_labels[i] else 1,
            feature_labels[i] or 1,
            1 + first + 2 * second,
        )
    return tuple(result)


def _is_shared(slots: tuple[Slot, ...], i: int, index: int) -> bool:
    producer = slots[i].features_from[index]
    if producer != i:
        return True
    return any(
        other.class_id == slots[i].class_id and other.features_from[index] == i
        for j, other in enumerate(slots)
        if j > i
    )


def _label_groups(slots: tuple[Slot, ...], sources: list[tuple[int, ...]]) -> list[int]:
    """Per slot, the number of its connected component within its class, 0 for a slot on its own."""
    root = list(range(len(slots)))

    def find(i: int) -> int:
        while root[i] != i:
            i = root[i]
        return i

    for i, source in enumerate(sources):
        for j in source:
            a, b = sorted((find(i), find(j)))
            root[b] = a
    roots = [find(i) for i in range(len(slots))]
    labels: dict[int, int] = {}
    count: dict[int, int] = {}
    for slot, r in zip(slots, roots, strict=True):
        if roots.count(r) > 1 and r not in labels:
            labels[r] = count[slot.class_id] = count.get(slot.class_id, 0) + 1
    return [labels.get(r, 0) for r in roots]


def genome_hash(genome: Genome) -> str:
    """16 hexadecimal digits that name the architecture: SHA-256 of the canonical text."""
    return sha256(to_text(canonical(genome)).encode()).hexdigest()[:16]
