"""Many genomes priced at once equal each priced alone: to the last bit, and whatever they share."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.strategies import any_genomes, genomes, three_level_genomes

from star.architecture.genome import DECK, Space, check, decode, parse
from star.architecture.scales import SCALES
from star.architecture.spec import BackboneConfig, Dimensions, OperatorOverrides
from star.cost import batch as bulk
from star.cost.batch import Costs, price_many
from star.cost.cost import Cost, price
from star.errors import UserError

WIDE = Dimensions(d_model=64, head_dim=8, vocab_size=256, seq_len=256)
STYLED = replace(
    WIDE,
    style=BackboneConfig(
        norm="layer", norm_bias=True, norm_place="both", parallel=(2, 1), shared_norm=True, shift=3, tied=False
    ),
    operators=(
        ("SA-1", OperatorOverrides(window=50, qk_norm="head")),
        ("GMemless", OperatorOverrides(gate=False, d_ff=100)),
    ),
)
DEEP = Dimensions(d_model=16_384, head_dim=128, vocab_size=128_256, seq_len=8192)
SIZES = st.sampled_from((WIDE, replace(WIDE, window=7), STYLED))


def one_by_one(genomes, *sizes) -> list[Cost]:
    return [price(decode(tuple(genome)), *sizes) for genome in genomes]


def rows(costs: Costs) -> list[Cost]:
    return [Cost(*values) for values in zip(*(column.tolist() for column in costs), strict=True)]


def draw_crowded(seed: int, count: int, num_slots: int, classes) -> np.ndarray:
    """Backbones of few classes and groups, so that almost everything is shared with something."""
    rng = np.random.default_rng(seed)
    groups = min(2, max(1, num_slots // 2))
    size = (count, num_slots)
    genes = [rng.choice(classes, size)] + [rng.integers(1, high + 1, size) for high in (groups, 2, groups, 4)]
    return np.stack(genes, axis=2).reshape(count, -1)


def test_the_fields_are_those_of_one_cost():
    assert Costs._fields == Cost._fields


@given(
    st.lists(any_genomes(max_slots=12), max_size=6),
    SIZES,
    st.none() | st.integers(1, 10**6),
    st.sampled_from((1, 2, 4, 0.5, 1.0625)),
)
def test_any_genomes_of_mixed_lengths(many, dims, context, dtype_bytes):
    assert rows(price_many(many, dims, context, dtype_bytes)) == one_by_one(many, dims, context, dtype_bytes)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from(("paper", "shifted")), SIZES, st.integers(1, 9999))
def test_deep_backbones_in_an_array(seed, num_slots, deck, dims, context):
    rng = np.random.default_rng(seed)
    space = Space(num_slots, deck)
    many = np.array([space.sample(rng) for _ in range(8)])
    many[4:].reshape(-1, 5)[::3, 0] = 0  # empty slots
    assert rows(price_many(many, dims, context)) == one_by_one(many.tolist(), dims, context)


@pytest.mark.parametrize("number", DECK)
def test_every_class_however_much_is_shared(number):
    many = draw_crowded(number, 300, 6, [number])
    assert rows(price_many(many, WIDE, 77)) == one_by_one(many.tolist(), WIDE, 77)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 40), st.lists(st.integers(0, max(DECK)), min_size=1, max_size=4), SIZES)
def test_crowded_backbones(seed, num_slots, classes, dims):
    many = draw_crowded(seed, 12, num_slots, classes)
    assert rows(price_many(many, dims)) == one_by_one(many.tolist(), dims)


@given(
    genomes(max_slots=4), three_level_genomes(max_slots=4), st.sampled_from((np.int8, np.int32, np.uint16, np.int64))
)
def test_arrays_of_any_integers_and_rows_with_a_deck_of_their_own(backbone, own, kind):
    assert rows(price_many(np.array([backbone] * 2, kind), WIDE)) == one_by_one([backbone] * 2, WIDE)
    if kind != np.uint16:
        assert rows(price_many(np.array([own] * 2, kind), WIDE)) == one_by_one([own] * 2, WIDE)
        assert rows(price_many([np.array(own, kind), backbone], WIDE)) == one_by_one([own, backbone], WIDE)


def test_blocks_do_not_show(monkeypatch):
    many = draw_crowded(0, 50, 9, list(DECK))
    whole = rows(price_many(many, WIDE))
    monkeypatch.setattr(bulk, "BLOCK", 20)
    assert rows(price_many(many, WIDE)) == whole


def test_costs_beyond_64_bits_are_exact():
    """At 2**26 tokens FLOPs of full attention pass 2**63, those of some backbones do not; no bits are lost before."""
    many = [*draw_crowded(0, 20, 252, [1, 9]).tolist(), *draw_crowded(1, 20, 252, [5, 0]).tolist()]
    for context, kind in ((2**26, object), (2**19, np.int64)):
        costs = price_many(many, DEEP, context)
        assert rows(costs) == one_by_one(many, DEEP, context)
        assert costs.flops.dtype == kind and costs.params.dtype == costs.cache_bytes.dtype == np.int64
    assert max(price_many(many, DEEP, 2**26).flops) > 2**63 > min(price_many(many, DEEP, 2**26).flops) > 2**53
    wide = price_many(many, DEEP, 2**26, dtype_bytes=2**20)
    assert wide.cache_bytes.dtype == object and rows(wide) == one_by_one(many, DEEP, 2**26, 2**20)


@given(st.lists(three_level_genomes(max_slots=3), min_size=1, max_size=2))
def test_decks_of_their_own_beyond_64_bits(many):
    assert rows(price_many(many, DEEP, 2**40)) == one_by_one(many, DEEP, 2**40)


def test_nothing_to_price_and_empty_backbones():
    for nothing in ([], np.zeros((0, 10), int), np.zeros((0, 0), int)):
        assert rows(price_many(nothing, WIDE)) == [] and price_many(nothing, WIDE).params.shape == (0,)
    empty = (0, 1, 1, 1, 1) * 3
    assert rows(price_many([empty, empty], STYLED)) == one_by_one([empty, empty], STYLED)


@pytest.mark.parametrize(
    "genome",
    [
        (),
        (1, 1, 1, 1),
        (1, 1, 1, 1, 1, 1),
        (1 + max(DECK), 1, 1, 1, 1),
        (2**70, 1, 1, 1, 1),
        (1, 0, 1, 1, 1),
        (1, 1, 3, 1, 1),
        (1, 1, 1, 2, 1),
        (1, 1, 1, 1, 5),
        (-1, 1, 1, 1, 1),
        (-1, 9, *parse("12123,1211,1211,1211/11111")[2:]),
    ],
    ids=str,
)
def test_a_malformed_genome_is_told_as_everywhere(genome):
    with pytest.raises(UserError) as expected:
        check(genome)
    for many in ([genome], [(1, 1, 1, 1, 1), genome], np.array([genome])):
        with pytest.raises(UserError) as error:
            price_many(many, WIDE)
        assert str(error.value) == str(expected.value)


@example(9)
@given(st.integers(1, 40))
def test_an_operator_that_does_not_fit_is_told(num_slots):
    one_head = replace(SCALES["125m"].dims, head_dim=SCALES["125m"].dims.d_model)
    many = draw_crowded(num_slots, 3, num_slots, [9])
    many[-1, 0] = 3
    with pytest.raises(UserError, match="SA-3 repeats B over 4 query heads"):
        price_many(many, one_head)
