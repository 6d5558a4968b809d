"""Prices against built models, published figures and an independent count of the cache."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import genomes

from star.cost import itemise, price
from star.genome import PAPER, decode, parse
from star.model import LanguageModel
from star.scales import SCALES
from star.spec import Dimensions, ModelSpec, UserError

SMALL = Dimensions(d_model=64, head_dim=16, vocab_size=256, seq_len=256)
TRANSFORMER = "11111-91111"


def tile(period: str, times: int):
    return decode(parse("-".join([period] * times)))


@settings(max_examples=150)
@given(genomes(max_slots=8))
def test_priced_parameters_are_built_parameters(genome):
    slots = decode(genome)
    model = LanguageModel(ModelSpec(slots, SMALL))
    cost = price(slots, SMALL)
    assert cost.params == sum(p.numel() for p in model.parameters())
    assert cost.embedding_params == model.embedding.weight.numel()


@pytest.mark.parametrize("class_id", PAPER)
def test_every_class_is_priced_as_built_at_odd_sizes(class_id):
    dims = Dimensions(d_model=120, head_dim=10, vocab_size=31, seq_len=50)
    slots = decode((class_id, 1, 1, 1, 1) * 2)
    built = sum(p.numel() for p in LanguageModel(ModelSpec(slots, dims)).parameters())
    assert price(slots, dims).params == built


def test_transformer_at_125m_and_1b_has_the_published_size_and_cache():
    """84.9 M and 1.21 B parameters without embeddings; 805,306,368 cache bytes at 1 B, 4,096 tokens, 16 bit."""
    small = price(tile(TRANSFORMER, 12), SCALES["125m"].dims)
    norms = 25 * 768
    assert small.params - small.embedding_params - norms == 12 * (4 * 768**2 + 3 * 768 * 2048) == 84_934_656
    assert small.cache_bytes == 150_994_944
    large = price(tile(TRANSFORMER, 24), SCALES["1b"].dims)
    assert large.params - large.embedding_params == 24 * (4 * 2048**2 + 3 * 2048 * 5461) + 49 * 2048
    assert large.cache_bytes == 805_306_368


@pytest.mark.parametrize(
    ("class_id", "elements"),
    [
        (1, lambda t: 2 * 64 * t),  # keys and values of 4 heads of 16
        (2, lambda t: 2 * 64 * t + 3 * 3 * 64),  # and three short convolutions
        (3, lambda t: 2 * 16 * t),  # one key/value head
        (4, lambda t: 2 * 32 * t),
        (5, lambda t: 64 * 16 + 3 * (64 + 2 * 16)),  # d N + conv columns of V, B, C
        (6, lambda t: 64 * 2 + 3 * (64 + 2 * 2)),
        (7, lambda t: 3 * 64),
        (8, lambda t: 64 * t),
        (9, lambda t: 0),
        (10, lambda t: 2 * 2 * 64 * t),
        (14, lambda t: 2 * (64 * 16 + 3 * (64 + 2 * 16))),
    ],
)
def test_cache_of_each_class(class_id, elements):
    slots = decode((class_id, 1, 1, 1, 1))
    for context in (1, 256, 5000):
        cost = price(slots, SMALL, context=context, dtype_bytes=2)
        assert cost.cache_bytes == 2 * elements(context)
        assert cost.cache_bytes_per_token == 2 * (elements(1001) - elements(1000))


def test_a_shared_feature_is_cached_once():
    alone = price(tile("11111", 2), SMALL).cache_bytes
    assert price(decode(parse("11112-11112")), SMALL).cache_bytes == alone * 3 // 4  # keys shared
    assert price(decode(parse("11114-11114")), SMALL).cache_bytes == alone // 2  # keys and values
    assert price(decode(parse("11211-11211")), SMALL).cache_bytes == alone  # weights only


def test_the_gated_input_of_a_convolution_is_shared_only_if_both_its_factors_are():
    alone = price(tile("81111", 2), SMALL).cache_bytes
    assert price(decode(parse("81112-81112")), SMALL).cache_bytes == alone
    assert price(decode(parse("81114-81114")), SMALL).cache_bytes == alone // 2


@given(genomes(max_slots=12), st.integers(1, 40_000))
def test_cache_counted_another_way(genome, context):
    """Set arithmetic over the distinct tensors that decoding must keep, each named by who made it."""
    slots = decode(genome)
    kept: dict[tuple, int] = {}
    for slot in slots:
        d, copies = SMALL.d_model, 2 if slot.liv.differential else 1
        made = {
            g.role: (slot.class_id, g.role, owner) for g, owner in zip(slot.liv.groups, slot.features_from, strict=True)
        }
        for group in slot.liv.groups:
            width = group.width(SMALL)
            if group.token_mixing == 3 and group.role != "K":
                kept["columns", made[group.role]] = copies * 3 * width
            if slot.liv.token_mixing == 2 and group.role in ("B", "V"):
                kept["tokens", made[group.role]] = copies * width * context
        if slot.liv.token_mixing == 3:
            length = 3 if slot.liv.groups[3].token_mixing == 3 else context
            kept["gated input", made["B"], made["V"]] = copies * d * length
        if slot.liv.token_mixing == 4:
            kept["state", slot] = copies * d * slot.liv.groups[1].expansion
            if (duplicates := slots.count(slot)) > 1:
                kept["state", slot] *= duplicates  # slots that share everything still keep a state each
    assert price(slots, SMALL, context=context).cache_bytes == 2 * sum(kept.values())


@given(genomes(max_slots=12))
def test_layers_add_up_to_the_total(genome):
    slots = decode(genome)
    cost, layers = price(slots, SMALL, context=1000), itemise(slots, SMALL, context=1000)
    assert sum(layer.params for layer in layers) + SMALL.vocab_size * 64 + 64 == cost.params
    assert sum(layer.cache_bytes for layer in layers) == cost.cache_bytes
    for layer in layers:
        assert all(other < layer.slot for other in layer.shares_with)


def test_heads_that_do_not_fit_are_named():
    dims = Dimensions(d_model=48, head_dim=16, vocab_size=256, seq_len=64)
    with pytest.raises(UserError, match=r"SA-3 repeats B over 4 query heads, which does not divide the 3 heads"):
        price(decode(parse("31111")), dims)
    with pytest.raises(UserError, match="does not divide d_model"):
        Dimensions(d_model=48, head_dim=36, vocab_size=256, seq_len=64)
    with pytest.raises(UserError, match="positive"):
        Dimensions(d_model=48, head_dim=-16, vocab_size=256, seq_len=64)
