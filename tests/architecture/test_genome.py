"""Genomes: text, meaning, canonical form, variation; over numbered classes and with a deck of their own."""

from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import any_genomes, genomes, three_level_genomes

from star.architecture.codes import ChannelMixing, Nonlinearity, TokenMixing
from star.architecture.genome import (
    CLASSES,
    DECK,
    DECKS,
    PAPER,
    Rates,
    Space,
    canonical,
    check,
    class_name,
    decode,
    decoding,
    genes_of,
    genome_hash,
    join,
    parse,
    split,
    to_text,
)
from star.architecture.genome.operator import GENES_PER_CLASS, GENES_PER_OPERATOR, UNUSED, repair_class
from star.architecture.genome.space import CLASS_ALPHABET
from star.errors import UserError

EXAMPLE = "21211-31112-21221-32112"  # the paper's
GQA, SWIGLU = "12123,1211,1214,1214", "11142,1231,1231"
UNKNOWN = "12123,3211,1214,1214"  # grouped queries after a short convolution: in no table
INTEGERS = st.integers() | st.integers(-100, 100)


def test_the_papers_example_decodes_as_the_paper_explains():
    """Slots 1 and 3 are of class 2 and share featurizer weights; 2 and 4 are of class 3 and share a feature."""
    genome = parse(EXAMPLE)
    assert to_text(genome) == EXAMPLE
    slots = decode(genome)
    assert [slot.class_id for slot in slots] == [2, 3, 2, 3]
    assert [slot.weights_from for slot in slots] == [(0, 0, 0), (1, 1, 1), (0, 0, 0), (3, 3, 3)]
    assert [slot.features_from for slot in slots] == [(0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 1, 3)]


def test_the_first_classes_are_the_papers():
    names = ["SA-1", "SA-2", "SA-3", "SA-4", "Rec-1", "Rec-2", "GConv-1", "GConv-2", "GMemless"]
    assert [class_name(i) for i in PAPER] == names + [f"{name}-Diff" for name in names[:8]]
    softmax = [DECK[i].name for i in PAPER if DECK[i].nonlinearity is Nonlinearity.SOFTMAX]
    assert softmax == ["SA-1", "SA-2", "SA-3", "SA-4", "SA-1-Diff", "SA-2-Diff", "SA-3-Diff", "SA-4-Diff"]
    assert DECK[9].token_mixing is TokenMixing.DIAGONAL and DECK[9].channel_mixing is ChannelMixing.DENSE
    assert [g.repeat for g in DECK[3].groups] == [1, 4, 4] and [g.repeat for g in DECK[4].groups] == [1, 2, 2]


def test_numbers_and_names_of_classes_are_whole_and_distinct():
    assert list(CLASSES) == list(DECK) == list(range(1, len(DECK) + 1))
    assert len({liv.name for liv in DECK.values()}) == len({genes_of(liv) for liv in DECK.values()}) == len(DECK)
    assert {"paper": tuple(range(1, 18)), "extended": tuple(range(52)), "shifted": (0, *DECK)} == DECKS
    assert class_name(0) == "empty"


# Computed before there were more classes than the paper's: what was trained then keeps its name.
@pytest.mark.parametrize(
    ("text", "name", "form"),
    [
        (EXAMPLE, "c9d54e6f0bc350f2", "21211-31112-21211-31112"),
        ("11111-91111", "cf5e963bde0937c5", "11111-91111"),
        ("51114-91111-51114-142111", "a60a910c3d5a5adb", "51114-91111-51114-141111"),
        ("11214-91111-11214-11214", "370a3daf008e792c", "11214-91111-11214-11214"),
        (
            "12222-12222-172222-92224-92224-172212",
            "89b61823cff8f209",
            "11212-11212-171211-91114-91114-171211",
        ),
        ("-".join(["14.10.2.10.4"] * 21), "8240a9cc8bc5ff68", "-".join(["141214"] * 21)),
    ],
)
def test_hashes_of_the_papers_genomes_are_permanent(text, name, form):
    assert genome_hash(parse(text)) == name
    assert to_text(canonical(parse(text))) == form


def test_a_class_that_joins_the_table_changes_no_hash(monkeypatch):
    """An architecture of an operator that was in no table keeps its name when it gets a number."""
    genome = parse(f"{UNKNOWN}/11111-11111")
    before = genome_hash(genome), canonical(genome)
    operator = decoding._own_operator(split(genome)[0][0])
    monkeypatch.setitem(decoding.NUMBERS, operator.genes, 58)
    monkeypatch.setitem(decoding._DECK, 58, operator._replace(class_id=58))
    memories = (decoding._own_operator, canonical)
    for memory in memories:
        memory.cache_clear()
    assert canonical(genome) == (58, 1, 1, 1, 1) * 2 != before[1]
    assert genome_hash(genome) == before[0]
    monkeypatch.undo()
    for memory in memories:
        memory.cache_clear()


def test_routed_widths_in_other_terms_are_one_operator():
    for row in ("1222", "1244"):
        with pytest.raises(UserError, match="lowest terms"):
            parse(f"11144,{row},{row},1242/11111")
    four_eighths, one_half = (
        repair_class((1, 1, 1, 4, 4, *row, *row, 1, 2, 4, 2, *UNUSED * 3)) for row in ((1, 2, 4, 8), (1, 2, 1, 2))
    )
    assert four_eighths == one_half


def test_leading_zeros_do_not_empty_a_slot():
    assert parse("0000000007.1.1.1.1") == parse("71111")


@given(genomes(max_slots=24))
def test_text_round_trip(genome):
    assert parse(to_text(genome)) == genome


@given(three_level_genomes())
def test_text_round_trip_of_a_genome_with_a_deck(genome):
    """Only genes of feature groups that no operator has are not written."""
    again = parse(to_text(genome))
    assert to_text(again) == to_text(genome)
    assert decode(again) == decode(genome) and canonical(again) == canonical(genome)
    assert join(*split(genome)) == genome


@given(any_genomes(max_slots=8))
def test_canonical_form_is_idempotent_and_means_the_same(genome):
    form = canonical(genome)
    assert decode(form) == decode(genome)
    assert canonical(form) == form
    assert check(form) == parse(to_text(form)) == form
    assert genome_hash(form) == genome_hash(genome)


@given(any_genomes(1, 4), any_genomes(1, 4))
def test_equal_architectures_and_only_they_have_equal_hashes(a, b):
    assert (decode(a) == decode(b)) == (canonical(a) == canonical(b)) == (genome_hash(a) == genome_hash(b))


@given(genomes(1, 3), genomes(1, 3))
def test_equal_hashes_over_few_integers(a, b):
    """As above, with so few values that many pairs are equal."""
    a, b = (tuple(min(gene, 2) for gene in genome) for genome in (a, b))
    assert (decode(a) == decode(b)) == (genome_hash(a) == genome_hash(b))


@given(genomes(1, 8), st.randoms(use_true_random=False))
def test_known_classes_in_a_deck_are_the_plain_genome(genome, random):
    """Written as a deck of its own, in any order, with classes that are used twice or not at all."""
    numbers = [*genome[::5], *random.sample(list(DECK), 3)]
    numbers = [number for number in numbers if number]
    random.shuffle(numbers)
    own = list(genome)
    for place in range(0, len(own), 5):
        if own[place]:
            own[place] = random.choice([i for i, number in enumerate(numbers, start=1) if number == own[place]])
    written = join(tuple(genes_of(DECK[number]) for number in numbers), tuple(own))
    assert decode(written) == decode(genome)
    assert canonical(written) == canonical(genome)
    assert genome_hash(written) == genome_hash(genome)


@given(any_genomes(4, 8), st.randoms(use_true_random=False))
def test_renaming_groups_changes_nothing(genome, random):
    """Group numbers are names: any permutation of them within a class decodes alike and hashes alike."""
    classes, backbone = split(genome)
    num_groups = len(backbone) // 5 // 2
    kinds = [classes[number - 1] if classes and number else number for number in backbone[::5]]
    renamed = list(backbone)
    for position in (1, 3):
        for kind in set(kinds):  # two entries of a deck may be one class, and share
            names = random.sample(range(1, num_groups + 1), num_groups)
            for slot, its_kind in enumerate(kinds):
                if its_kind == kind:
                    renamed[5 * slot + position] = names[backbone[5 * slot + position] - 1]
    assert genome_hash(join(classes, tuple(renamed))) == genome_hash(genome)


@given(three_level_genomes(), st.randoms(use_true_random=False))
def test_the_order_of_a_deck_changes_nothing(genome, random):
    classes, backbone = split(genome)
    order = random.sample(range(len(classes)), len(classes))
    moved = list(backbone)
    moved[::5] = [number and order.index(number - 1) + 1 for number in backbone[::5]]
    permuted = join(tuple(classes[i] for i in order), tuple(moved))
    assert decode(permuted) == decode(genome) and genome_hash(permuted) == genome_hash(genome)


@given(any_genomes(2, 8), st.integers(0, 8))
def test_empty_slots_change_nothing(genome, place):
    """A slot of class 0 anywhere: no other slot notices."""
    classes, backbone = split(genome)
    at = min(place, len(backbone) // 5) * 5
    longer = join(classes, (*backbone[:at], 0, 1, 2, 1, 4, *backbone[at:]))
    assert decode(longer) == decode(genome) and genome_hash(longer) == genome_hash(genome)


def test_nothing_at_all_is_one_empty_slot():
    for text in ("01111", "01214-01224-01111-01111", f"{GQA}/01111-01111"):
        assert decode(parse(text)) == ()
        assert to_text(canonical(parse(text))) == "01111"


def test_classes_of_a_deck_that_are_alike_are_one_class():
    twice = parse(f"{UNKNOWN}+{UNKNOWN}+{GQA}/11114-21114-31111-11111")
    slots = decode(twice)
    assert [slot.class_id for slot in slots] == [-1, -1, 3, -1]
    assert slots[1].features_from == (1, 0, 0)
    assert to_text(canonical(twice)) == f"{UNKNOWN}+{GQA}/11114-11114-21111-11111"


@given(any_genomes(max_slots=12))
def test_sharing_reaches_back_to_a_slot_of_the_same_class_that_owns(genome):
    slots = decode(genome)
    for i, slot in enumerate(slots):
        for g, (producer, owner) in enumerate(zip(slot.features_from, slot.weights_from, strict=True)):
            assert producer <= i and owner <= i
            assert slots[producer].class_id == slots[owner].class_id == slot.class_id
            assert slots[producer].liv == slots[owner].liv == slot.liv
            assert slots[producer].features_from[g] == producer
            if producer == i:
                assert slots[owner].weights_from[g] == owner and slots[owner].features_from[g] == owner


SPACES = [(deck, levels) for deck in DECKS for levels in ("backbone", "all")]


@pytest.mark.parametrize(("deck", "levels"), SPACES)
@given(data=st.data())
def test_any_integers_are_repaired_once_and_for_all(deck, levels, data):
    space = Space(data.draw(st.integers(1, 5)), deck, levels)
    genome = space.repair(data.draw(st.lists(INTEGERS, min_size=space.length, max_size=space.length)))
    assert check(genome) == genome and space.repair(genome) == genome
    assert {type(gene) for gene in genome} == {int}
    classes, backbone = split(genome)
    low, high = space.bounds()
    assert len(classes) == space.num_classes and ((low <= backbone) & (backbone <= high)).all()
    assert decode(canonical(genome)) == decode(genome)
    assert canonical(parse(to_text(genome))) == canonical(genome)


@pytest.mark.parametrize("levels", ["backbone", "all"])
def test_numpys_integers_are_repaired_as_pythons(levels):
    space = Space(6, "extended", levels)
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = rng.integers(-3, 70, space.length)
        genome = space.repair(values)
        assert genome == space.repair(values.tolist())
        assert {type(gene) for gene in genome} == {int}


@pytest.mark.parametrize(("deck", "levels"), SPACES)
@given(num_slots=st.integers(1, 12), seed=st.integers(0, 2**32))
def test_variation_stays_in_range(deck, levels, num_slots, seed):
    rng = np.random.default_rng(seed)
    everything = Rates(backbone_mutation=1.0, operator_mutation=1.0, featurizer_mutation=1.0)
    space = Space(num_slots, deck, levels, everything)
    a, b = space.sample(rng), space.sample(rng)
    children = space.crossover(a, b, rng)
    for parents, pair in zip(zip(a, b, strict=True), zip(*children, strict=True), strict=True):
        assert sorted(parents) == sorted(pair)  # every integer goes to one child or the other
    mutant = space.mutate(a, rng)
    for genome in (a, b, *children, mutant):
        assert len(genome) == space.length
        low, high = space.bounds()
        (_, backbone), valid = split(genome), space.repair(genome)
        assert ((low <= backbone) & (backbone <= high)).all()
        assert check(valid) == valid and decode(valid) == decode(canonical(valid))
    assert space.repair(a) == a and space.repair(b) == b
    assert levels == "all" or all(space.repair(one) == one for one in (*children, mutant))
    movable = np.concatenate((np.ones(len(a) - len(low), bool), high > low))
    movable[0] &= levels == "backbone"  # the number of classes never changes
    assert ((np.array(mutant) != a) == movable).all()  # a mutation always changes the integer
    still = Space(num_slots, deck, levels, Rates(backbone_mutation=0, operator_mutation=0, featurizer_mutation=0))
    assert still.mutate(a, rng) == a


def test_the_papers_operators_draw_as_before():
    """Recorded before there were other decks: a run's seed still leads to the same genomes."""
    rng = np.random.default_rng(7)
    expected = iter(
        (
            "171213-161214-151111",
            "61114-161112-141114",
            "171114-161214-151111",
            "61213-161112-141114",
            "171213-161214-151211",
            "112222-71211-44241-132113-153132-174134-153213-91133",
            "93232-113113-73111-74123-172223-83234-33121-12212",
            "112222-71211-44241-132113-153132-174134-153213-91113",
            "93232-113113-73111-74123-172223-83234-33121-12232",
            "112222-71211-44241-132113-143132-171144-153213-91133",
        )
    )
    for num_slots in (3, 8):
        space = Space(num_slots, "paper")
        a, b = space.sample(rng), space.sample(rng)
        for genome in (a, b, *space.crossover(a, b, rng), space.mutate(a, rng)):
            assert to_text(genome) == next(expected)


# Computed before features had a residual kernel and there was a deck with it.
@pytest.mark.parametrize(
    ("deck", "levels", "digest"),
    [
        ("paper", "backbone", "c7ee6a110c235e01"),
        ("extended", "backbone", "23a79d76c1ae663c"),
        ("paper", "all", "01313fa00acdebb9"),
        ("extended", "all", "0d57da350eba89b8"),
    ],
)
def test_decks_draw_and_vary_as_before(deck, levels, digest):
    space, rng, found = Space(8, deck, levels), np.random.default_rng(18), []
    for _ in range(50):
        a, b = space.sample(rng), space.sample(rng)
        found += [a, b, *space.crossover(a, b, rng), space.mutate(a, rng)]
    text = "\n".join(to_text(space.repair(genome)) for genome in found)
    assert sha256(text.encode()).hexdigest()[:16] == digest


def test_integers_are_repaired_as_before():
    """Computed at the same time: all but 8, which is a code of features now and stays one where it is allowed."""
    space, rng = Space(4, "extended", "all"), np.random.default_rng(5)
    drawn = (rng.integers(-3, 70, space.length).tolist() for _ in range(200))
    text = "\n".join(to_text(space.repair([7 if gene == 8 else gene for gene in genes])) for genes in drawn)
    assert sha256(text.encode()).hexdigest()[:16] == "31ab087d246f973a"


def test_a_deck_starts_from_classes_with_names():
    rng = np.random.default_rng(0)
    known = {genes_of(DECK[number]): number for number in DECK}
    for deck in DECKS:
        space = Space(8, deck, levels="all")
        found = {known[one] for _ in range(200) for one in split(space.sample(rng))[0]}
        assert found == set(DECKS[deck]) - {0}


def test_crossover_cuts_twice():
    """The child differs from its first parent in one contiguous stretch, and cuts reach every place."""
    rng = np.random.default_rng(0)
    space = Space(4, "paper")
    ones, twos = (1,) * 20, (2,) * 20
    starts, stops = set(), set()
    for _ in range(2000):
        child, _ = space.crossover(ones, twos, rng)
        stretch = np.flatnonzero(np.array(child) == 2).tolist()
        assert stretch == list(range(stretch[0], stretch[-1] + 1))
        starts.add(stretch[0])
        stops.add(stretch[-1])
    assert starts == stops == set(range(20))


CLASSES_OF_8 = np.arange(4 * GENES_PER_CLASS).reshape(4, GENES_PER_CLASS)


@pytest.mark.parametrize(
    ("rates", "units"),
    [
        (Rates(operator_crossover=1, featurizer_crossover=0), CLASSES_OF_8),
        (Rates(operator_crossover=0, featurizer_crossover=1), CLASSES_OF_8[:, GENES_PER_OPERATOR:].reshape(-1, 4)),
    ],
)
def test_crossover_of_a_deck_exchanges_a_stretch_of_whole_units(rates, units):
    """Whole classes, or whole feature groups counted through all classes, while operator genes stay."""
    rng = np.random.default_rng(0)
    space = Space(8, "extended", "all", rates)
    ones, twos = (-4, *(1,) * (space.length - 1)), (-4, *(2,) * (space.length - 1))
    starts, stops = set(), set()
    for _ in range(1500):
        child, other = space.crossover(ones, twos, rng)
        deck = np.array(child[1 : 1 + units.max() + 1])
        swapped = (deck[units] == 2).all(axis=1)
        assert (deck == 2).sum() == swapped.sum() * units.shape[1]
        stretch = np.flatnonzero(swapped).tolist()
        assert stretch == list(range(stretch[0], stretch[-1] + 1))
        starts.add(stretch[0])
        stops.add(stretch[-1])
        assert {*zip(child[1:], other[1:], strict=True)} <= {(1, 2), (2, 1)}
    assert starts == stops == set(range(len(units)))


def test_crossover_of_a_deck_happens_at_its_rates():
    """A class comes from the second parent; a feature group does not come from where its class does."""
    rng = np.random.default_rng(0)
    space = Space(16, "extended", "all")
    ones, twos = (-8, *(1,) * (space.length - 1)), (-8, *(2,) * (space.length - 1))
    children = np.array([space.crossover(ones, twos, rng)[0] for _ in range(4000)])
    deck = children[:, 1 : 1 + 8 * GENES_PER_CLASS].reshape(-1, 8, GENES_PER_CLASS) == 2
    assert abs(deck[:, :, 0].any(axis=1).mean() - 0.5) < 0.04
    apart = (deck[:, :, GENES_PER_OPERATOR:] != deck[:, :, :1]).any(axis=(1, 2))
    assert abs(apart.mean() - 0.1) < 0.02


def test_mutation_rate_is_per_integer_and_draws_are_uniform():
    rng = np.random.default_rng(1)
    space = Space(24, "paper")
    genome = space.sample(rng)
    mutants = np.array([space.mutate(genome, rng) for _ in range(4000)])
    rate = (mutants != genome).mean(axis=0)
    assert abs(rate.mean() - 0.1) < 0.002  # ten standard errors of 480,000 draws are 0.004
    values, counts = np.unique(mutants[mutants[:, 0] != genome[0], 0], return_counts=True)
    assert len(values) == 16 and counts.min() > counts.mean() / 2


@pytest.mark.parametrize("rates", [Rates(), Rates(backbone_mutation=0.3, operator_mutation=0.2, featurizer_mutation=0)])
def test_every_level_mutates_at_its_own_rate(rates):
    rng = np.random.default_rng(2)
    space = Space(24, "extended", "all", rates)
    genome = space.sample(rng)
    mutants = np.array([space.mutate(genome, rng) for _ in range(600)])
    changed = mutants != genome
    end = 1 + space.num_classes * GENES_PER_CLASS
    deck = changed[:, 1:end].reshape(600, space.num_classes, GENES_PER_CLASS)
    assert not changed[:, 0].any()
    for found, rate in (
        (changed[:, end:], rates.backbone_mutation),
        (deck[:, :, :GENES_PER_OPERATOR], rates.operator_mutation),
        (deck[:, :, GENES_PER_OPERATOR:], rates.featurizer_mutation),
    ):
        assert abs(found.mean() - rate) <= 6 * np.sqrt(rate * (1 - rate) / found.size)


def test_mutations_of_a_class_reach_every_other_value_alike():
    rng = np.random.default_rng(3)
    space = Space(2, "paper", "all", Rates(operator_mutation=1, featurizer_mutation=1))
    genome = space.sample(rng)
    mutants = np.array([space.mutate(genome, rng) for _ in range(1500)])
    for place, allowed in enumerate(CLASS_ALPHABET, start=1):
        values, counts = np.unique(mutants[:, place], return_counts=True)
        assert set(values.tolist()) == set(allowed) - {genome[place]}
        assert counts.min() > 0.7 * counts.mean()


@pytest.mark.parametrize(
    ("text", "clue"),
    [
        ("", "slot 1"),
        ("1111", "not five genes"),
        ("21211-3111", "slot 2"),
        ("21211-31x12", "slot 2"),
        ("21211--21221", "slot 2"),
        ("581111", "class is 58, but must lie between 0 and 57"),
        ("11311", "featurizer-sharing strategy is 3, but must lie between 1 and 2"),
        ("11111-13111", "featurizer-sharing group is 3, but must lie between 1 and 1"),
        ("11115", "feature-sharing strategy is 5, but must lie between 1 and 4"),
        ("1.1.1.1", "not five genes"),
        ("1²111", "not five genes"),
        ("9" * 5000, "class is 9"),
        (f"{GQA}/", "slot 1"),
        (f"{GQA}/21111", "slot 1 .* class is 2, but must lie between 0 and 1"),
        ("/11111", "class 1 .* not five digits"),
        (f"{GQA}+/11111", "class 2 .* not five digits"),
        (f"{GQA}+{SWIGLU},1/11111", "class 2 .* not four digits"),
        (f"{GQA},1211,1211,1211,1211/11111", "class 1 .* feature groups, but 6 are"),
        ("12123,1211,1214,12²4/11111", "class 1 .* not four digits"),
        (f"3{GQA[1:]}/11111", "class 1 .* copies is 3, but must be one of 1, 2"),
        (
            f"{SWIGLU}+19123,1211,1211,1211/11111",
            "class 2 .* token mixing is 9, but must be one of 1, 2, 3, 4, 5",
        ),
        ("11223,1211,1211,1211/11111", "sparsity is 2, but must be 1"),
        ("12133,1211,1211,1211/11111", "nonlinearity is 3, but must be one of 1, 2"),
        ("12122,1211,1211,1211/11111", "channel mixing is 2, but must be one of 3, 6"),
        ("12123,1211,1211/11111", r"number of feature groups is 2, but must be 3 for attention \(C B V\)"),
        ("11162,1211,1211/11111", r"number of feature groups is 2, but must be 1 for memoryless \(C\)"),
        ("12123,2211,1211,1211/11111", "token mixing of C is 2, but must be one of 1, 3, 7"),
        ("12123,1211,1211,1231/11111", "expansion of V is 3, but must be 1"),
        ("12123,1211,1212,1214/11111", "repeat of V is 4, but must be 2, as that of B"),
        ("11144,1211,1211,1.2.4.8/11111", "repeat of R is 8, but must be at most 4: .* experts"),
        ("13111,1211,1211,1211,6171/11111", "expansion of K is 7, but must be 3: .* implicit"),
        (f"{'+'.join([GQA] * 100)}/11111", "100 classes, but must have between 1 and 99"),
    ],
)
def test_malformed_text_names_slot_gene_value_and_range(text, clue):
    with pytest.raises(UserError, match=clue) as error:
        parse(text)
    assert len(str(error.value)) < 5200 and "\n" not in str(error.value)


GENES_OF_GQA = genes_of(DECK[3])


@pytest.mark.parametrize(
    ("values", "clue"),
    [
        ((), "0 integers are not whole slots"),
        ((1, 1, 1), "3 integers are not whole slots"),
        ((1,) * 6, "6 integers are not whole slots"),
        ((58, 1, 1, 1, 1), "slot 1 of the genome: class is 58, but must lie between 0 and 57"),
        ((1, 1, 1, 1, 1, 1, 1, -7, 1, 1), "slot 2 of the genome: .* strategy is -7, but must lie between 1 and 2"),
        ((1, 1, 1, 1, 10**30), "slot 1 of the genome: feature-sharing strategy is 10"),
        ((-1,), "0 integers are not whole slots"),
        ((-1, *GENES_OF_GQA), "0 integers are not whole slots"),
        ((-(10**30), 1, 1, 1, 1), "0 integers are not whole slots"),
        ((-1, *GENES_OF_GQA, 2, 1, 1, 1, 1), "slot 1 of the genome: class is 2, but must lie between 0 and 1"),
        ((-1, *GENES_OF_GQA[:4], 9, *GENES_OF_GQA[5:], 1, 1, 1, 1, 1), "class 1 of the genome: channel mixing is 9"),
        ((-1, 0, *GENES_OF_GQA[1:], 1, 1, 1, 1, 1), "class 1 of the genome: copies is 0"),
        ((-1, *GENES_OF_GQA[:-1], 5, 1, 1, 1, 1, 1), "class 1 of the genome: integer 29, .* is 5, not 4"),
        ((-100, *GENES_OF_GQA * 100, 1, 1, 1, 1, 1), "100 classes"),
    ],
)
def test_malformed_integers_name_slot_gene_value_and_range(values, clue):
    with pytest.raises(UserError, match=clue) as error:
        check(values)
    assert "\n" not in str(error.value)


def test_a_vector_of_another_length_is_not_repaired():
    with pytest.raises(UserError, match="a genome of 2 slots has 10 integers here, not 11"):
        Space(2, "paper").repair([1] * 11)
    with pytest.raises(UserError, match="a genome of 2 slots has 40 integers here, not 10"):
        Space(2, "paper", "all").repair([1] * 10)


def test_repeated_slots_are_read_as_many_times():
    assert parse("2*(11111-91111)-31111") == parse("11111-91111-11111-91111-31111")
    deck = "12123,1211,1211,1211+11142,1231,1231"
    assert parse(f"{deck}/11111-3*(21111)") == parse(f"{deck}/11111-21111-21111-21111")


@pytest.mark.parametrize("text", ["0*(11111)", "1000*(11111)", "2*11111", "2*(11111", "2*()"])
def test_wrong_repeats_are_refused(text):
    with pytest.raises(UserError, match="times|slots that repeat|five genes"):
        parse(text)
