"""Depth: a pattern over more slots, by properties of random genomes."""

from hypothesis import given
from hypothesis import strategies as st
from support.strategies import any_genomes

from star.architecture.genome import GENES_PER_SLOT, canonical, decode, parse, split, tile
from star.architecture.scales import SCALES
from star.cost.cost import frame, price

DIMS = SCALES["micro"].dims
COPIES = st.integers(1, 4)


def num_slots(genome):
    return len(split(genome)[1]) // GENES_PER_SLOT


@given(any_genomes(), COPIES)
def test_copies_cost_as_many_times_what_one_costs(genome, copies):
    one, many = (decode(tile(genome, num_slots(genome) * times)) for times in (1, copies))
    alone, together = (price(slots, DIMS, 200) for slots in (one, many))
    outside = frame(0, DIMS)
    assert together.params - outside.params == copies * (alone.params - outside.params)
    assert together.cache_bytes == copies * alone.cache_bytes
    head = outside.head_flops * 200
    assert together.flops - head == copies * (alone.flops - head)


@given(any_genomes(), COPIES)
def test_no_copy_shares_with_another(genome, copies):
    length = num_slots(genome)
    period = len(decode(genome))
    slots = decode(tile(genome, length * copies))
    for i, slot in enumerate(slots):
        assert all(source // period == i // period for source in (*slot.weights_from, *slot.features_from))
        first = slots[i % period]
        shift = i // period * period
        assert slot.features_from == tuple(source + shift for source in first.features_from)
        assert slot.weights_from == tuple(source + shift for source in first.weights_from)


@given(any_genomes(), st.integers(1, 30))
def test_a_tiled_genome_is_canonical_and_as_long_as_asked(genome, length):
    tiled = tile(genome, length)
    assert canonical(tiled) == tiled == tile(tiled, num_slots(tiled))
    assert len(decode(tiled)) <= length


def test_the_last_copy_is_cut():
    assert tile(parse("21211-91111"), 5) == parse("21111-91111-21111-91111-21111")
    assert tile(parse("21211-21211-91111"), 5) == parse("21211-21211-91111-22211-22211")
