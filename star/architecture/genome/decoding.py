"""Decoding of integers to slots, and the canonical spelling that all equal architectures share.

Sharing connects slots of one class only. Slots that name the same feature-sharing group and a strategy that
covers a feature group use the tensor computed by the shallowest of them; slots that name the same
featurizer-sharing group with strategy 2 compute with the weights of the shallowest of them that computes that
feature at all. Every vector within its gene's range therefore has a meaning, and genes without effect (a
group of one, a strategy that no partner answers) are spelled 1 in canonical form. Empty slots vanish in it, and a deck
of a genome's own keeps only what is used and is in no table.
"""

from collections import Counter
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from star.architecture.genome.codec import join, split, to_text
from star.architecture.genome.deck import DECK, EMPTY, NUMBERS, PAPER
from star.architecture.genome.operator import ClassGenes, describe_class, genes_of
from star.architecture.spec import LivSpec, Slot
from star.architecture.structures import rules_of
from star.records import Genome


class _Operator(NamedTuple):
    """An operator, its number (0 if it is in no table), its genes, and the feature groups that each strategy names."""

    class_id: int
    liv: LivSpec
    genes: ClassGenes
    named: dict[int, tuple[int, ...]]


def _operator(class_id: int, liv: LivSpec) -> _Operator:
    roles = [group.role for group in liv.groups]
    first, *rest = (roles.index(role) for role in rules_of(liv).shareable if role in roles)
    second = tuple(rest)
    return _Operator(class_id, liv, genes_of(liv), {1: (), 2: (first,), 3: second or (first,), 4: (first, *second)})


_DECK = {number: _operator(number, liv) for number, liv in DECK.items()}


@lru_cache(maxsize=65_536)
def _own_operator(genes: ClassGenes) -> _Operator:
    operator = _operator(0, describe_class(genes))
    number = NUMBERS.get(operator.genes)
    return _DECK[number] if number else operator


def decode(genome: Genome) -> tuple[Slot, ...]:
    """Return the slots of a genome, without empty ones, with the owner of every feature and weight resolved."""
    classes, backbone = split(genome)
    table = {number: _own_operator(genes) for number, genes in enumerate(classes, start=1)} if classes else _DECK
    invented: dict[ClassGenes, int] = {}
    producers: dict[tuple[int, int, int], int] = {}
    owners: dict[tuple[int, int, int], int] = {}
    slots: list[Slot] = []
    genes = iter(backbone)
    for number, weight_group, weight_strategy, group, strategy in zip(genes, genes, genes, genes, genes, strict=True):
        if number == EMPTY:
            continue
        class_id, liv, own_genes, named = table[number]
        class_id = class_id or invented.setdefault(own_genes, -1 - len(invented))
        i = len(slots)
        features = weights = (i,) * len(liv.groups)
        if strategy > 1:
            shared = list(features)
            for index in named[strategy]:
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
    """Return the spelling shared by every genome that decodes to the same architecture.

    Each set of slots connected by what they really share becomes one group, numbered within its class by
    first appearance; all genes without effect become 1. Idempotent; decoding is unchanged by it.
    """
    slots = decode(genome)
    return _spell(slots, written_out=any(slot.class_id < 0 for slot in slots))


def _spell(slots: tuple[Slot, ...], written_out: bool) -> Genome:
    """Return the canonical spelling of slots, with classes as numbers of the table or in a deck of the genome's own."""
    if not slots:
        return (EMPTY, 1, 1, 1, 1)
    classes = tuple(dict.fromkeys(genes_of(slot.liv) for slot in slots)) if written_out else ()
    weight_labels = _label_groups(slots, [slot.weights_from for slot in slots])
    feature_labels = _label_groups(slots, [slot.features_from for slot in slots])
    result: list[int] = []
    for i, slot in enumerate(slots):
        result += (
            classes.index(genes_of(slot.liv)) + 1 if classes else slot.class_id,
            weight_labels[i] or 1,
            2 if weight_labels[i] else 1,
            feature_labels[i] or 1,
            _strategy(slots, i) if feature_labels[i] else 1,
        )
    return join(classes, tuple(result))


def _strategy(slots: tuple[Slot, ...], i: int) -> int:
    """Return the feature-sharing strategy that names what slot i really shares."""
    named = _named(slots[i])
    first, second = (any(_is_shared(slots, i, index) for index in named[which]) for which in (2, 3))
    return (4 if named[2] != named[3] else 2) if first and second else 1 + first + 2 * second


def _named(slot: Slot) -> dict[int, tuple[int, ...]]:
    operator = _DECK[slot.class_id] if slot.class_id > 0 else _own_operator(genes_of(slot.liv))
    return operator.named


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
    """Return, for each slot, the number of its connected component within its class, or 0 for a slot on its own."""
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
    sizes = Counter(roots)
    labels: dict[int, int] = {}
    count: dict[int, int] = {}
    for slot, r in zip(slots, roots, strict=True):
        if sizes[r] > 1 and r not in labels:
            labels[r] = count[slot.class_id] = count.get(slot.class_id, 0) + 1
    return [labels.get(r, 0) for r in roots]


def genome_hash(genome: Genome) -> str:
    """Return 16 hexadecimal digits that identify the architecture: SHA-256 of its canonical text.

    Classes beyond the paper's are written out for it, whether they are in the table or not, so that the name of an
    architecture outlives additions to the table.
    """
    slots = decode(genome)
    text = to_text(_spell(slots, written_out=any(slot.class_id not in PAPER for slot in slots)))
    return sha256(text.encode()).hexdigest()[:16]
