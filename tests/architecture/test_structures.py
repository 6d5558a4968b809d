"""Structures without tensors: every combination of codes means something or is brought to what does; equations."""

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import CLASS_VALUES

from star.architecture.codes import (
    UNSEARCHED,
    UNSEARCHED_FEATURES,
    FeatureChannelMixing,
    FeatureTokenMixing,
    TokenMixing,
)
from star.architecture.genome import DECK, class_text, genes_of
from star.architecture.genome.operator import CODES, GENES_PER_CLASS, MAX_GROUPS, UNUSED, describe_class, repair_class
from star.architecture.genome.space import CLASS_ALPHABET
from star.architecture.spec import BackboneConfig, Dimensions, FeatureGroup
from star.architecture.structures import ALL, FAMILIES, MEANINGS, feature_equations, operator_equation, rules_of
from star.architecture.structures.feature import feature_equation, feature_width
from star.errors import UserError

DIMS = Dimensions(d_model=128, head_dim=8, vocab_size=256, seq_len=64)
COMBINATIONS = list(product(*(tuple(codes) for _, codes in CODES)))
CLASS_GENES = st.tuples(*(st.sampled_from(values) for values in CLASS_VALUES))
INTEGERS = st.tuples(*[st.integers() | st.integers(-5, 70)] * GENES_PER_CLASS)


def operator_of(codes):
    """The operator with these codes and the smallest genes."""
    return describe_class(repair_class((1, *map(int, codes), *UNUSED * MAX_GROUPS)))


def codes_of(liv):
    return liv.token_mixing, liv.sparsity, liv.nonlinearity, liv.channel_mixing


def test_structures_of_one_token_mixing_mean_one_thing_by_it_and_share_a_hue():
    assert list(FAMILIES) == list(TokenMixing)
    for rules in ALL:
        family = FAMILIES[rules.token_mixing]
        assert (rules.token_meaning, rules.hue) == (family.token_meaning, family.hue)


def test_hues_and_meanings_of_token_mixings_can_be_told_apart():
    hues = sorted(rules.hue for rules in FAMILIES.values())
    assert all(0 <= hue < 360 for hue in hues)
    assert min(after - before for before, after in zip(hues, [*hues[1:], hues[0] + 360], strict=True)) >= 20
    assert len({rules.token_meaning for rules in FAMILIES.values()}) == len(FAMILIES)


def test_every_combination_of_codes_is_repaired_to_the_nearest_that_means_something():
    """Of the same token mixing; none that means something has fewer genes changed."""
    assert len(COMBINATIONS) == 756 and set(MEANINGS) < set(COMBINATIONS)
    for codes in COMBINATIONS:
        found = codes_of(operator_of(codes))
        assert found in MEANINGS and found[0] == codes[0]
        if codes in MEANINGS:
            assert found == codes
        fewest = min(changes(known, codes) for known in MEANINGS if known[0] == codes[0])
        assert changes(found, codes) == fewest
        assert found[2] not in UNSEARCHED or found[2] == codes[2]


def changes(a, b):
    return sum(x != y for x, y in zip(a, b, strict=True))


def test_every_token_mixing_means_something():
    assert {codes[0] for codes in MEANINGS} == set(CODES[0][1])


@given(INTEGERS)
def test_any_integers_are_repaired_to_an_operator_once_and_for_all(genes):
    repaired = repair_class(genes)
    assert repair_class(repaired) == repaired
    liv = describe_class(repaired)
    used = 5 + 4 * len(liv.groups)
    assert genes_of(liv) == repaired[:used] + (1,) * (GENES_PER_CLASS - used)
    nonlinearity = repaired[3]
    assert nonlinearity not in UNSEARCHED or nonlinearity == genes[3]
    mixings = range(5, GENES_PER_CLASS, 4)
    for place in set(range(GENES_PER_CLASS)) - {3}:
        is_kept = place in mixings and repaired[place] in UNSEARCHED_FEATURES
        assert repaired[place] == genes[place] if is_kept else repaired[place] in CLASS_ALPHABET[place]


def test_a_residual_kernel_stays_where_it_is_allowed_and_nothing_becomes_one():
    shifted = genes_of(DECK[52])
    assert repair_class(shifted) == shifted
    assert UNSEARCHED_FEATURES == (8,) and all(8 not in CLASS_ALPHABET[place] for place in range(5, GENES_PER_CLASS, 4))
    for codes in MEANINGS:
        for number, choice in enumerate(rules_of(operator_of(codes)).choices(codes[2])):
            place = 5 + 4 * number
            for gene in range(-1, 20):
                genes = [1, *map(int, codes), *UNUSED * MAX_GROUPS]
                genes[place] = gene
                assert (repair_class(tuple(genes))[place] == 8) == (gene == 8 and 8 in choice.token_mixing)


@given(CLASS_GENES)
def test_repair_changes_what_it_must_and_no_more(genes):
    """Each gene of a group keeps an allowed value, unless it follows another group's or a condition says otherwise."""
    repaired = repair_class(genes)
    liv = describe_class(repaired)
    rules = rules_of(liv)
    assert repaired[:2] == genes[:2]
    tied = {(tie.role, gene) for tie in rules.ties for gene in tie.genes}
    for number, choice in enumerate(rules.choices(liv.nonlinearity)):
        for gene, allowed in enumerate(choice.allowed()):
            place = 5 + 4 * number + gene
            nearest = min(abs(value - genes[place]) for value in allowed)
            assert repaired[place] in allowed
            if (choice.role, gene) not in tied and choice.role not in rules.conditions:
                assert abs(repaired[place] - genes[place]) == nearest


@given(CLASS_GENES)
def test_groups_agree_where_they_must(genes):
    liv = describe_class(repair_class(genes))
    for role, leader, tied in rules_of(liv).ties:
        for gene in tied if liv.has(role) else ():
            name = ("token_mixing", "channel_mixing", "expansion", "repeat")[gene]
            assert getattr(liv.group(role), name) == getattr(liv.group(leader), name)
    if liv.has("R"):
        assert liv.group("R").repeat <= liv.group("R").expansion
    if liv.has("K") and liv.group("K").token_mixing is FeatureTokenMixing.IMPLICIT_TOEPLITZ:
        assert liv.group("K").expansion == 3


@pytest.mark.parametrize("number", DECK)
def test_every_class_is_rebuilt_from_its_genes(number):
    liv, genes = DECK[number], genes_of(DECK[number])
    assert repair_class(genes) == genes
    again = describe_class(genes)
    assert again.groups == liv.groups and codes_of(again) == codes_of(liv)
    assert (again.structure, again.differential) == (liv.structure, liv.differential)
    assert again.name.startswith(f"{liv.structure.replace(' ', '-')}~")


def test_an_operator_is_named_after_all_of_its_genes_and_no_others():
    names = {describe_class(genes_of(liv)).name for liv in DECK.values()}
    assert len(names) == len(DECK)
    one = genes_of(DECK[9])
    other = repair_class((*one[:-1], 4))  # a gene of a group that it does not have
    assert other != one and describe_class(other) == describe_class(one)


@pytest.mark.parametrize("codes", MEANINGS, ids=lambda codes: "".join(str(int(code)) for code in codes))
def test_an_equation_speaks_of_every_feature_and_of_no_other(codes):
    liv = operator_of(codes)
    equation, features = operator_equation(liv), feature_equations(liv)
    roles = [group.role for group in liv.groups]
    assert list(features) == roles and len(set(roles)) == len(roles)
    letters = set(re.findall(r"(?<![A-Za-z_])[A-Z](?![A-Za-z])", equation.replace("^T", "")))
    assert letters - set("IWS") == set(roles) - set("WS")  # W is also a map, S a state
    assert liv.has("W") == ("sigmoid(W)" in equation)
    assert not liv.has("S") or "S_i" in equation
    assert equation.startswith("y_i = ") and equation.count("(") == equation.count(")")


def test_a_differential_operator_is_a_difference():
    plain, both = operator_equation(DECK[1]), operator_equation(DECK[10])
    assert both.startswith("y = a(x) - b(x), ") and both.endswith(f"each {plain}")


@pytest.mark.parametrize(
    ("role", "genes", "equation", "width"),
    [
        ("C", (1, 2, 1, 1), "x W", "width d"),
        ("V", (3, 4, 3, 1), "conv3(x W1 W2)", "width 8/3 d"),
        ("B", (7, 5, 1, 4), "norm_head(swish(conv4(x W)))", "width d / 4"),
        ("B", (8, 2, 1, 4), "x W + conv4(x W)", "width d / 4"),
        ("V", (8, 6, 1, 8), "norm(x W + conv4(x W))", "width d / 8"),
        ("V", (1, 6, 1, 8), "norm(x W)", "width d / 8"),
        ("V", (1, 3, 2, 1), "x blockdiag(W)", "width 2 d"),
        ("B", (1, 2, 16, 0), "x W", "16 numbers for all channels"),
        ("A", (1, 2, 1, 7), "x W", "one number for each head"),
        ("B", (1, 2, 1, 9), "x W", "one head for all heads"),
        ("R", (1, 2, 8, 2), "x W", "8 experts, 2 for each token"),
        ("K", (3, 1, 7, 1), "a parameter of 7 taps", ""),
        ("K", (6, 1, 3, 1), "f(position)", ""),
    ],
)
def test_equations_of_features(role, genes, equation, width):
    token_mixing, channel_mixing, expansion, repeat = genes
    group = FeatureGroup(
        role, FeatureTokenMixing(token_mixing), FeatureChannelMixing(channel_mixing), expansion, repeat
    )
    assert (feature_equation(group), feature_width(group)) == (equation, width)


@given(CLASS_GENES)
def test_what_a_structure_tells_of_itself_is_sound(genes):
    liv = describe_class(repair_class(genes))
    rules, roles = rules_of(liv), {group.role for group in liv.groups}
    assert rules.shareable[0] in roles and len(rules.shareable) == 2
    assert rules.params(liv, DIMS) > 0
    assert rules.inactive_params(liv, DIMS) >= 0
    assert all(rules.group_params(liv, group, DIMS) > 0 for group in liv.groups)
    for entry in rules.cache_spec(liv, DIMS):
        assert set(entry.roles) <= roles and entry.fixed + entry.growing > 0
        assert entry.growing or not entry.banded


@given(CLASS_GENES)
def test_an_operator_fits_or_its_misfit_is_one_sentence(genes):
    """At a width that nothing divides but one head: whatever repeats more is refused by name."""
    liv = describe_class(repair_class(genes))
    rules = rules_of(liv)
    narrow = Dimensions(31, 31, vocab_size=256, seq_len=64, style=BackboneConfig(positions="none"))
    rules.check_fits(liv, DIMS)
    if any(group.repeat in (2, 4, 8, 16) and group.role != "R" for group in liv.groups):
        with pytest.raises(UserError, match=f"{liv.name}.* repeat"):
            rules.check_fits(liv, narrow)
    else:
        rules.check_fits(liv, narrow)


@given(CLASS_GENES)
def test_the_text_of_a_class_is_as_long_as_its_groups(genes):
    repaired = repair_class(genes)
    liv = describe_class(repaired)
    assert class_text(repaired).count(",") == len(liv.groups) <= MAX_GROUPS
