"""Prices against built models, published figures and an independent count of the cache."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import CLASS_VALUES, any_genomes, three_level_genomes

from star.architecture.genome import DECK, canonical, decode, parse
from star.architecture.genome.operator import GENES_PER_OPERATOR, repair_class
from star.architecture.scales import SCALES
from star.architecture.spec import Dimensions, ModelSpec
from star.architecture.structures import MEANINGS
from star.cost.cost import itemise, price
from star.errors import UserError
from star.model.language_model import LanguageModel

SMALL = Dimensions(d_model=64, head_dim=16, vocab_size=256, seq_len=256)
WIDE = Dimensions(d_model=64, head_dim=8, vocab_size=256, seq_len=256)  # enough heads for every repeat
TRANSFORMER = "11111-91111"


def tile(period: str, times: int):
    return decode(parse("-".join([period] * times)))


def built(slots, dims) -> LanguageModel:
    return LanguageModel(ModelSpec(slots, dims))


def count(model) -> int:
    return sum(p.numel() for p in model.parameters())


@settings(max_examples=150)
@given(any_genomes())
def test_priced_parameters_are_built_parameters(genome):
    slots = decode(genome)
    model, cost = built(slots, WIDE), price(slots, WIDE)
    assert cost.params == count(model)
    assert cost.embedding_params == model.embedding.weight.numel()


@pytest.mark.parametrize("class_id", DECK)
def test_every_class_is_priced_as_built_at_odd_sizes(class_id):
    dims = Dimensions(d_model=120, head_dim=10, vocab_size=31, seq_len=50)
    slots = decode((class_id, 1, 1, 1, 1) * 2)
    assert price(slots, dims).params == count(built(slots, dims))


@pytest.mark.parametrize("codes", MEANINGS, ids=lambda codes: "".join(str(int(code)) for code in codes))
@settings(max_examples=12)
@given(data=st.data())
def test_every_structure_is_priced_as_built(codes, data):
    """Whatever the genes of its feature groups: alone, and where a second slot shares what it can."""
    rows = [data.draw(st.sampled_from(values)) for values in CLASS_VALUES[GENES_PER_OPERATOR:]]
    own = repair_class((data.draw(st.sampled_from((1, 2))), *map(int, codes), *rows))
    slots = decode((-1, *own, *(1, 1, 1, 1, 1), *(1, 1, 2, 1, 4), *(1, 1, 2, 1, 3)))
    model = built(slots, WIDE)
    for context in (5, 64):
        cost = price(slots, WIDE, context=context, dtype_bytes=4)
        assert cost.params == count(model)
        assert cost.cache_bytes == model.new_cache(context).num_bytes


def test_transformer_at_125m_and_1b_has_the_published_size_and_cache():
    """84.9 M and 1.21 B parameters without embeddings; 805,306,368 cache bytes at 1 B, 4,096 tokens, 16 bit."""
    small = price(tile(TRANSFORMER, 12), SCALES["125m"].dims)
    norms = 25 * 768
    assert small.params - small.embedding_params - norms == 12 * (4 * 768**2 + 3 * 768 * 2048) == 84_934_656
    assert small.cache_bytes == 150_994_944
    large = price(tile(TRANSFORMER, 24), SCALES["1b"].dims)
    assert large.params - large.embedding_params == 24 * (4 * 2048**2 + 3 * 2048 * 5461) + 49 * 2048
    assert large.cache_bytes == 805_306_368


COLUMNS_16, COLUMNS_64 = 4 * (64 + 2 * 16), 4 * (128 + 2 * 64)  # of the kernels on V, B and C


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
        (18, lambda t: 2 * 16 * t),
        (19, lambda t: 2 * 64 * min(t, 64)),  # a quarter of 256 tokens
        (20, lambda t: 2 * 16 * min(t, 64)),
        (21, lambda t: (16 + 16) * t),  # a latent of d / 4 and one rotary key
        (22, lambda t: 2 * 16 * t),
        (23, lambda t: 4 * 16 * (16 + 1)),  # a matrix and a sum of keys for each head
        (24, lambda t: 4 * 16 * 16),
        (25, lambda t: 64 * 16 + COLUMNS_16),
        (26, lambda t: 2 * 64 * 64 + COLUMNS_64),
        (27, lambda t: 2 * 64 * 16 + 4 * (128 + 2 * 16)),
        (28, lambda t: 64 * 64 + 3 * (64 + 2 * 64)),
        (29, lambda t: 4 * 16 * 16 + 3 * 4 * 64),
        (30, lambda t: 64 + 3 * 64),
        (31, lambda t: 4 * 64),
        (32, lambda t: 7 * 64),
        *((number, lambda t: 0) for number in range(33, 39)),
        (40, lambda t: 2 * 2 * 16 * min(t, 64)),
        (48, lambda t: 2 * (4 * 16 * 16 + 3 * 4 * 64)),
        (52, lambda t: 2 * 64 * t + 3 * 4 * 64),  # as many columns of C, B and V as the kernels have taps
        (53, lambda t: 2 * 16 * t + 4 * (64 + 2 * 16)),
        (54, lambda t: 2 * 32 * t + 4 * (64 + 2 * 32)),
        (55, lambda t: 2 * 16 * t + 4 * (64 + 2 * 16)),
        (56, lambda t: 2 * 16 * min(t, 64) + 4 * (64 + 2 * 16)),
        (57, lambda t: 4 * 16 * (16 + 1) + 3 * 4 * 64),
    ],
)
def test_cache_of_each_class(class_id, elements):
    slots = decode((class_id, 1, 1, 1, 1))
    for context in (1, 256, 5000):
        cost = price(slots, SMALL, context=context, dtype_bytes=2)
        assert cost.cache_bytes == 2 * elements(context)
        assert cost.cache_bytes_per_token == 2 * (elements(context + 1) - elements(context))


@pytest.mark.parametrize("class_id", [19, 20, 40])
def test_a_window_bounds_the_cache(class_id):
    slots = decode((class_id, 1, 1, 1, 1))
    at = {window: replace(SMALL, window=window) for window in (1, 10, 256)}
    one = price(slots, at[1], context=1000).cache_bytes
    assert one == price(slots, SMALL, context=1).cache_bytes
    assert [price(slots, dims, context=1000).cache_bytes for dims in at.values()] == [one, 10 * one, 256 * one]
    assert price(slots, at[10], context=7).cache_bytes == 7 * one


def test_parameters_of_one_token_leave_the_other_experts_out():
    """MoE: 2 of 4 experts of three d x d; MoE-shared: 2 of 8 of half that; all else serves every token."""
    for class_id, inactive in ((33, 2 * 3 * 64**2), (34, 6 * 3 * 64 * 32)):
        cost = price(decode((class_id, 1, 1, 1, 1) * 3), SMALL)
        assert cost.params - cost.active_params == 3 * inactive
    for class_id in set(DECK) - {33, 34}:
        cost = price(decode((class_id, 1, 1, 1, 1)), SMALL)
        assert cost.active_params == cost.params


def test_experts_that_slots_share_are_left_out_once():
    """Feature maps are shared, the experts' own output maps are not."""
    for text, inactive in (
        ("331211-331211-331211-331211", 2 * 2 * 64**2 + 4 * 2 * 64**2),
        ("341214-341214-341214", 6 * 2 * 64 * 32 + 3 * 6 * 64 * 32),
        ("331112-331112", 2 * 3 * 64**2 + 2 * 2 * 64**2),
    ):
        cost = price(decode(parse(text)), SMALL)
        assert cost.params - cost.active_params == inactive


def test_nothing_costs_the_embedding():
    slots = decode((0, 1, 1, 1, 1))
    cost = price(slots, SMALL)
    assert cost.params == cost.active_params == count(built(slots, SMALL)) == 256 * 64 + 64
    assert cost.cache_bytes == cost.cache_bytes_per_token == 0 and itemise(slots, SMALL) == []


def test_a_shared_feature_is_cached_once():
    alone = price(tile("11111", 2), SMALL).cache_bytes
    assert price(decode(parse("11112-11112")), SMALL).cache_bytes == alone * 3 // 4  # keys shared
    assert price(decode(parse("11114-11114")), SMALL).cache_bytes == alone // 2  # keys and values
    assert price(decode(parse("11211-11211")), SMALL).cache_bytes == alone  # weights only


def test_the_gated_input_of_a_convolution_is_shared_only_if_both_its_factors_are():
    alone = price(tile("81111", 2), SMALL).cache_bytes
    assert price(decode(parse("81112-81112")), SMALL).cache_bytes == alone
    assert price(decode(parse("81114-81114")), SMALL).cache_bytes == alone // 2


def kept_by_structure(slot, number, made) -> dict[tuple, tuple[int, int, int]]:
    """Name of a tensor -> elements that it has anyhow, for each token, for each token of the window."""
    liv, d, head = slot.liv, WIDE.d_model, WIDE.head_dim
    genes = {group.role: group for group in liv.groups}
    match int(liv.token_mixing), int(liv.nonlinearity), int(liv.channel_mixing):
        case (1, _, _):
            return {}
        case (2, 1, 3):  # a state and the sum of the keys
            return {("sums", made["B"], made["V"]): (width_of(genes["V"]) * (head + 1), 0, 0)}
        case (2, 2, _):
            where = 2 if liv.sparsity == 2 else 1
            widths = {role: width_of(genes[role]) for role in "BV"}
            return {
                ("tokens", made[role]): tuple(width if i == where else 0 for i in range(3))
                for role, width in widths.items()
            }
        case (3, _, _):
            kernel = genes["K"]
            long = kernel.token_mixing == 6
            return {("input", made["B"], made["V"]): (0, d, 0) if long else (kernel.expansion * d, 0, 0)}
        case (4, _, _):
            return {("state", number): (width_of(genes["V"]) * genes["B"].expansion, 0, 0)}
        case (5 | 7, _, _):
            return {("state", number): (d // head * head * head, 0, 0)}
        case (6, _, _):
            return {("state", number): (d, 0, 0)}
    raise AssertionError(liv)


def width_of(group) -> int:
    """Channels of a feature, from the meanings of its codes."""
    full = {3: WIDE.d_model * 8 // 3}.get(group.expansion, group.expansion * WIDE.d_model)
    return {
        0: group.expansion,
        7: group.expansion * WIDE.num_heads,
        9: group.expansion * WIDE.head_dim,
    }.get(group.repeat) or full // group.repeat


@given(any_genomes(max_slots=8), st.integers(1, 40_000), st.integers(1, 256))
def test_cache_counted_another_way(genome, context, window):
    """Set arithmetic over the distinct tensors that decoding must keep, each named by who made it."""
    slots, dims = decode(genome), replace(WIDE, window=window)
    kept: dict[tuple, tuple[int, int, int]] = {}
    for number, slot in enumerate(slots):
        names = {
            g.role: (slot.class_id, g.role, owner) for g, owner in zip(slot.liv.groups, slot.features_from, strict=True)
        }
        copies = range(2 if slot.liv.differential else 1)
        for group in slot.liv.groups:
            taps = {3: 3, 7: 4, 8: 4}.get(int(group.token_mixing), 0) if group.role != "K" else 0
            kept |= {("columns", names[group.role], copy): (taps * width_of(group), 0, 0) for copy in copies}
        for name, elements in kept_by_structure(slot, number, names).items():
            kept |= {(*name, copy): elements for copy in copies}
    fixed, growing, banded = (sum(one[i] for one in kept.values()) for i in range(3))
    cost = price(slots, dims, context=context)
    assert cost.cache_bytes == 2 * (fixed + growing * context + banded * min(context, window))
    assert cost.cache_bytes_per_token == 2 * (growing + banded * (context < window))


@given(any_genomes(max_slots=12))
def test_layers_add_up_to_the_total(genome):
    slots = decode(genome)
    cost, layers = price(slots, WIDE, context=1000), itemise(slots, WIDE, context=1000)
    rest = WIDE.vocab_size * WIDE.d_model + WIDE.d_model
    assert sum(layer.params for layer in layers) + rest == cost.params
    assert sum(layer.active_params for layer in layers) + rest == cost.active_params
    assert sum(layer.cache_bytes for layer in layers) == cost.cache_bytes
    for layer in layers:
        assert 0 < layer.active_params <= layer.params
        assert all(other < layer.slot for other in layer.shares_with)


@given(three_level_genomes())
def test_a_deck_of_ones_own_costs_what_its_canonical_form_does(genome):
    assert price(decode(genome), WIDE) == price(decode(canonical(genome)), WIDE)


def test_heads_that_do_not_fit_are_named():
    dims = Dimensions(d_model=48, head_dim=16, vocab_size=256, seq_len=64)
    with pytest.raises(UserError, match=r"SA-3 repeats B over 4 query heads, which does not divide the 3 heads"):
        price(decode(parse("31111")), dims)
    with pytest.raises(UserError, match="does not divide d_model"):
        Dimensions(d_model=48, head_dim=36, vocab_size=256, seq_len=64)
    with pytest.raises(UserError, match="positive"):
        Dimensions(d_model=48, head_dim=-16, vocab_size=256, seq_len=64)
