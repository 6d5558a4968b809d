"""The latency of a model is the sum over its slots of what each operator takes, less what it takes from other slots."""

from collections import Counter
from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import any_genomes, genomes, scaled_genomes
from support.tiny import TINY

from star.architecture.genome import decode, parse
from star.architecture.spec import Dimensions, Slot
from star.cost.cost import frame, itemise, price
from star.cost.latency import FRAME, LatencyTable, Part, parts_of
from star.cost.target import Target
from star.records import Latency, Measured

DIMS = Dimensions(d_model=24, head_dim=4, vocab_size=40, seq_len=32)
CONTEXT = 32


def target_of(dims, num_slots=0):
    return Target(dims=dims, num_slots=num_slots, context=CONTEXT, dtype_bytes=2)


def count_flops(part: Part, dims: Dimensions) -> float:
    """FLOPs of one part alone: of a slot behind one that makes all that it takes."""
    if part == FRAME:
        return frame(0, dims).head_flops * CONTEXT
    groups = part.liv.groups
    first = Slot(1, part.liv, (0,) * len(groups), (0,) * len(groups))
    makers = tuple(0 if group.role in part.taken else 1 for group in groups)
    return itemise((first, Slot(1, part.liv, (1,) * len(groups), makers)), dims, CONTEXT)[1].flops_per_token * CONTEXT


def filled(genome, target, measure) -> LatencyTable:
    table = LatencyTable(target, 8)
    for part in table.missing([genome]):
        value = measure(part)
        table.rows[part.key] = Measured(part.name, "here", Latency(prefill_ms=value, decode_ms=2 * value))
    return table


@given(scaled_genomes(DIMS, max_slots=8), st.sampled_from((0, 5, 11)))
def test_a_model_takes_what_its_parts_take(drawn, num_slots):
    """With FLOPs for milliseconds, which are counted in another way: over all slots with regard to who makes what."""
    genome, dims = drawn
    target = target_of(dims, num_slots)
    table = filled(genome, target, lambda part: count_flops(part, dims))
    total = table.total(genome)
    assert total.prefill_ms == pytest.approx(price(target.slots(genome), dims, CONTEXT).flops, rel=1e-12)
    assert total.decode_ms == pytest.approx(2 * total.prefill_ms, rel=1e-12)


@given(any_genomes(), st.sampled_from((0, 11)), st.randoms(use_true_random=False))
def test_the_sum_is_exact(genome, num_slots, random):
    target = target_of(TINY.dims, num_slots)
    table = filled(genome, target, lambda part: random.uniform(1e-3, 1e9))
    rows = [table.rows[part.key].latency.prefill_ms for part in parts_of(genome, target)]
    assert len(rows) == len(target.slots(genome)) == len(table.itemise(genome))
    assert table.total(genome).prefill_ms == fsum([*rows, table.rows["frame"].latency.prefill_ms])
    assert not table.missing([genome])


@given(genomes(deck="shifted", min_slots=2))
def test_each_part_is_wanted_once(genome):
    wanted = LatencyTable(target_of(TINY.dims), 8).missing([genome, genome])
    keys = Counter(part.key for part in wanted)
    assert set(keys.values()) == {1} and wanted[-1] == FRAME
    slots = decode(genome)
    distinct = {(slot.liv.name, tuple(maker != i for maker in slot.features_from)) for i, slot in enumerate(slots)}
    assert len(keys) == len(distinct) + 1


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("11111-11111", ["", ""]),
        ("11212-11212", ["", "B"]),
        ("11113-11113-11113", ["", "V", "V"]),
        ("11114-11112-11113", ["", "B", "V"]),
        ("11112-11114", ["", "B"]),  # the values are the second slot's own: nobody named them before
        ("91114-91114", ["", "CV"]),
        ("11211-11211", ["", ""]),  # weights of another slot: it computes as much
    ],
)
def test_features_that_are_taken(text, taken):
    genome = parse(text)
    parts = parts_of(genome, target_of(TINY.dims))
    assert [part.taken for part in parts] == taken
    apart = parts_of(parse("-".join(f"{word[0]}1111" for word in text.split("-"))), target_of(TINY.dims))
    table = filled(genome, target_of(TINY.dims), lambda part: count_flops(part, TINY.dims))
    assert all(not part.taken for part in apart)
    for part, row, plain in zip(parts, table.itemise(genome), apart, strict=True):
        whole = count_flops(plain, TINY.dims)
        assert row.prefill_ms < whole if part.taken else row.prefill_ms == whole


def test_an_operator_has_one_key_in_the_deck_and_out_of_it():
    """Files name it by its genes, not by a number of the deck or a name."""
    own = parse("12123,1211,1211,1211/11111")
    (ours,), (theirs,) = (parts_of(genome, target_of(TINY.dims)) for genome in (own, parse("11111")))
    assert ours.key == theirs.key == "12123,1211,1211,1211"
    assert parts_of(parse("11114-11114"), target_of(TINY.dims))[1].key == "12123,1211,1211,1211 BV"


def test_whatever_disturbed_a_part_disturbs_the_sum():
    genome = parse("11111-91111")
    table = filled(genome, target_of(TINY.dims), lambda part: 1.0)
    assert not table.total(genome).is_disturbed
    row = table.rows["frame"]
    table.rows["frame"] = row._replace(latency=Latency(prefill_ms=1.0, decode_ms=1.0, is_disturbed=True))
    assert table.total(genome).is_disturbed
