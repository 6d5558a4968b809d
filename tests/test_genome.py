"""Genomes: text, meaning, canonical form, variation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import genomes

from star.genome import (
    PAPER,
    canonical,
    class_name,
    crossover,
    decode,
    gene_bounds,
    genome_hash,
    mutate,
    parse,
    repair,
    sample,
    to_text,
)
from star.spec import ChannelMixing, Nonlinearity, TokenMixing, UserError

EXAMPLE = "21211-31112-21221-32112"  # the paper's


def test_the_papers_example_decodes_as_the_paper_explains():
    """Slots 1 and 3 are of class 2 and share featurizer weights; 2 and 4 are of class 3 and share a feature."""
    genome = parse(EXAMPLE)
    assert to_text(genome) == EXAMPLE
    slots = decode(genome)
    assert [slot.class_id for slot in slots] == [2, 3, 2, 3]
    assert [slot.weights_from for slot in slots] == [(0, 0, 0), (1, 1, 1), (0, 0, 0), (3, 3, 3)]
    assert [slot.features_from for slot in slots] == [(0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 1, 3)]


def test_deck_is_the_papers():
    names = ["SA-1", "SA-2", "SA-3", "SA-4", "Rec-1", "Rec-2", "GConv-1", "GConv-2", "GMemless"]
    assert [class_name(i) for i in range(1, 18)] == names + [f"{name}-Diff" for name in names[:8]]
    softmax = [liv.name for liv in PAPER.values() if liv.nonlinearity is Nonlinearity.SOFTMAX]
    assert softmax == ["SA-1", "SA-2", "SA-3", "SA-4", "SA-1-Diff", "SA-2-Diff", "SA-3-Diff", "SA-4-Diff"]
    assert PAPER[9].token_mixing is TokenMixing.DIAGONAL and PAPER[9].channel_mixing is ChannelMixing.DENSE
    assert [g.repeat for g in PAPER[3].groups] == [1, 4, 4] and [g.repeat for g in PAPER[4].groups] == [
        1,
        2,
        2,
    ]


@given(genomes(max_slots=24))
def test_text_round_trip(genome):
    assert parse(to_text(genome)) == genome


@given(genomes(max_slots=24))
def test_canonical_form_is_idempotent_and_means_the_same(genome):
    form = canonical(genome)
    assert decode(form) == decode(genome)
    assert canonical(form) == form
    assert repair(form) == form
    assert genome_hash(form) == genome_hash(genome)


@given(genomes(2, 6), genomes(2, 6))
def test_equal_architectures_and_only_they_have_equal_hashes(a, b):
    assert (decode(a) == decode(b)) == (genome_hash(a) == genome_hash(b))


@given(genomes(4, 12), st.randoms(use_true_random=False))
def test_renaming_groups_changes_nothing(genome, random):
    """Group numbers are names: any permutation of them within a class decodes alike and hashes alike."""
    num_groups = len(genome) // 5 // 2
    renamed = list(genome)
    for position in (1, 3):
        for class_id in set(genome[::5]):
            names = random.sample(range(1, num_groups + 1), num_groups)
            for slot in range(0, len(genome), 5):
                if genome[slot] == class_id:
                    renamed[slot + position] = names[genome[slot + position] - 1]
    assert genome_hash(tuple(renamed)) == genome_hash(genome)


@given(genomes(max_slots=12))
def test_sharing_reaches_back_to_a_slot_of_the_same_class_that_owns(genome):
    slots = decode(genome)
    for i, slot in enumerate(slots):
        for g, (producer, owner) in enumerate(zip(slot.features_from, slot.weights_from, strict=True)):
            assert producer <= i and owner <= i
            assert slots[producer].class_id == slots[owner].class_id == slot.class_id
            assert slots[producer].features_from[g] == producer
            if producer == i:
                assert slots[owner].weights_from[g] == owner and slots[owner].features_from[g] == owner


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=12).map(lambda v: v * 5))
def test_any_integers_are_repaired_once_and_for_all(values):
    genome = repair(values)
    low, high = gene_bounds(len(values) // 5)
    assert ((low <= genome) & (genome <= high)).all()
    assert repair(genome) == genome
    decode(genome)


@given(st.integers(1, 24), st.integers(0, 2**32))
def test_variation_stays_in_range(num_slots, seed):
    rng = np.random.default_rng(seed)
    a, b = sample(num_slots, rng), sample(num_slots, rng)
    children = crossover(a, b, rng)
    for genome in (a, b, *children, mutate(a, rng, 1.0)):
        assert repair(genome) == genome
    for parents, pair in zip(zip(a, b, strict=True), zip(*children, strict=True), strict=True):
        assert sorted(parents) == sorted(pair)  # every integer goes to one child or the other
    low, high = gene_bounds(num_slots)
    mutant = np.array(mutate(a, rng, 1.0))
    assert ((mutant != a) == (high > low)).all()  # a mutation always changes the integer
    assert mutate(a, rng, 0.0) == a


def test_crossover_cuts_twice():
    """The child differs from its first parent in one contiguous stretch, and cuts reach every place."""
    rng = np.random.default_rng(0)
    zeros, ones = (1,) * 20, (2,) * 20
    starts, stops = set(), set()
    for _ in range(2000):
        child, _ = crossover(zeros, ones, rng)
        stretch = [i for i, gene in enumerate(child) if gene == 2]
        assert stretch == list(range(stretch[0], stretch[-1] + 1))
        starts.add(stretch[0])
        stops.add(stretch[-1])
    assert starts == stops == set(range(20))


def test_mutation_rate_is_per_integer_and_draws_are_uniform():
    rng = np.random.default_rng(1)
    genome = sample(24, rng)
    mutants = np.array([mutate(genome, rng) for _ in range(4000)])
    rate = (mutants != genome).mean(axis=0)
    assert abs(rate.mean() - 0.1) < 0.002  # ten standard errors of 480,000 draws are 0.004
    values, counts = np.unique(mutants[mutants[:, 0] != genome[0], 0], return_counts=True)
    assert len(values) == 16 and counts.min() > counts.mean() / 2


@pytest.mark.parametrize(
    ("text", "clue"),
    [
        ("", "slot 1"),
        ("1111", "not five genes"),
        ("21211-3111", "slot 2"),
        ("21211-31x12", "slot 2"),
        ("21211--21221", "slot 2"),
        ("181111", "class is 18, but must lie between 1 and 17"),
        ("01111", "class is 0"),
        ("11311", "featurizer-sharing strategy is 3, but must lie between 1 and 2"),
        ("11111-13111", "featurizer-sharing group is 3, but must lie between 1 and 1"),
        ("11115", "feature-sharing strategy is 5, but must lie between 1 and 4"),
        ("1.1.1.1", "not five genes"),
        ("1²111", "not five genes"),
        ("9" * 5000, "class is 9"),
    ],
)
def test_malformed_text_names_slot_gene_value_and_range(text, clue):
    with pytest.raises(UserError, match=clue) as error:
        parse(text)
    assert len(str(error.value)) < 5200 and "\n" not in str(error.value)


def test_a_vector_that_is_not_whole_slots_is_refused():
    for values in ((), (1, 1, 1), (1,) * 6):
        with pytest.raises(UserError, match="whole slots"):
            repair(values)
