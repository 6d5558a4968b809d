"""Decoding: prefill and steps with a cache equal the parallel form, and the cache weighs what it is priced at."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.decoding import assert_decodes, build
from support.strategies import genomes, three_level_genomes

from star.architecture.genome import DECK, decode, parse, to_text
from star.architecture.spec import Dimensions
from star.cost.cost import price

pytestmark = pytest.mark.usefixtures("double_precision")

NUM_TOKENS = 23
# Alone, with all weights shared, with the first, the second and both shareable features shared, and mixtures.
SHARINGS = ("{0}1111", "{0}1214-{0}1214", "{0}1112-{0}1113-{0}1114", "{0}1114-{0}1111-{0}1114")


def split(num_tokens, seed):
    """Random lengths that add up, most of them 1."""
    rng = np.random.default_rng(seed)
    pieces = []
    while sum(pieces) < num_tokens:
        pieces.append(1 if rng.random() < 0.6 else int(rng.integers(1, 9)))
    return [*pieces[:-1], num_tokens - sum(pieces[:-1])]


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("class_id", DECK)
def test_every_class_and_sharing_decodes_as_it_trains(class_id, sharing):
    genome = parse(sharing.format(class_id))
    assert_decodes(genome, [9] + [1] * (NUM_TOKENS - 9), batch_size=2)
    assert_decodes(genome, split(NUM_TOKENS, class_id))


@settings(max_examples=500)
@given(three_level_genomes(max_slots=3), st.integers(0, 2**32))
def test_random_genomes_decode_as_they_train(genome, seed):
    assert_decodes(genome, split(NUM_TOKENS, seed))


@pytest.mark.slow
@settings(max_examples=5_000)
@given(three_level_genomes(max_slots=8), st.integers(0, 2**32))
def test_five_thousand_random_genomes_decode_as_they_train(genome, seed):
    assert_decodes(genome, split(NUM_TOKENS, seed))


@settings(max_examples=100)
@given(genomes(max_slots=6), st.integers(0, 2**32))
def test_random_backbones_decode_as_they_train(genome, seed):
    assert_decodes(genome, split(NUM_TOKENS, seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@settings(max_examples=170)
@given(three_level_genomes(max_slots=6), st.integers(1, 300), st.integers(1, 32))
def test_the_cache_weighs_what_it_is_priced_at(dtype, genome, context, window):
    """Exactly, at any context, window and type."""
    dims = Dimensions(d_model=16, head_dim=4, vocab_size=32, seq_len=32, window=window)
    model = build(genome, dims).to(dtype)
    cost = price(decode(genome), dims, context, dtype.itemsize)
    assert model.new_cache(context).num_bytes == cost.cache_bytes, to_text(genome)
    assert model.new_cache(context, batch_size=3).num_bytes == 3 * cost.cache_bytes


@pytest.mark.parametrize("class_id", DECK)
def test_decoding_allocates_what_it_announces(class_id):
    """Neither prefill nor steps put anything else into the cache, or leave any of it untouched."""
    model = build(parse(f"{class_id}1111"))
    cache = model.new_cache(NUM_TOKENS)
    before = cache.num_bytes
    with torch.no_grad():
        for length in (20, 1, 1, 1):
            model(torch.randint(0, 32, (1, length)), cache)
    assert cache.num_bytes == before
    assert all(tensor.any() for tensor in cache.tensors())


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("class_id", DECK)
def test_nothing_else_stays_between_tokens(class_id, sharing):
    """All storage that a cache holds on to after a pass, views and what later slots looked up included."""
    model = build(parse(sharing.format(class_id)))
    cache = model.new_cache(NUM_TOKENS)
    for length in (20, 1):
        with torch.no_grad():
            model(torch.randint(0, 32, (1, length)), cache)
        held = [tensor for slot in cache.caches for one in (slot, *slot.parts) for tensor in find_tensors(vars(one))]
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in held}
        assert sum(storages.values()) == cache.num_bytes


def find_tensors(value):
    """Every tensor in nested dictionaries, but not those of other caches."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from find_tensors(part)


def test_a_full_cache_is_refused():
    model = build(parse("11111"))
    cache = model.new_cache(4)
    with torch.no_grad():
        model(torch.zeros(1, 3, dtype=torch.long), cache)
        with pytest.raises(ValueError, match="a cache for 4 tokens holds 3: there is no room for 2 more"):
            model(torch.zeros(1, 2, dtype=torch.long), cache)


@given(three_level_genomes(max_slots=4))
@settings(max_examples=20)
def test_generation_is_what_running_the_whole_model_again_gives(genome):
    """Greedy continuation with the cache, against one full forward pass a token."""
    model = build(genome)
    tokens = torch.randint(0, 32, (2, 7))
    found = model.generate(tokens, 8)
    with torch.no_grad():
        for _ in range(8):
            tokens = torch.cat((tokens, model(tokens)[:, -1:].argmax(dim=2)), dim=1)
    assert found.tolist() == tokens.tolist()


def test_sampling_follows_the_generator():
    model = build(parse("11111-91111"))
    prompt = torch.zeros(1, 1, dtype=torch.long)
    draws = [model.generate(prompt, 20, 1.0, torch.Generator().manual_seed(seed)).tolist() for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
