"""Widths at equal costs: the nearest there are, and the scale text that builds them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny import TINY_TOML

from star.architecture import catalogue
from star.architecture.catalogue import read_scale
from star.architecture.genome import DECKS, Space, decode
from star.architecture.scales import SCALES
from star.architecture.structures import specify
from star.comparison.matching import MATCHES, Contender, match
from star.cost.cost import price
from star.errors import UserError
from star.model.language_model import LanguageModel

NANO = SCALES["nano"]


def contender(name="lfm2-like", scale=NANO, toml=""):
    return Contender(label=name, genome=catalogue.load(name).at(scale.num_slots), scale=scale, toml=toml)


@pytest.mark.parametrize("kind", MATCHES)
@pytest.mark.parametrize("name", ["transformer-pp", "mamba", "gconv", "hyena-like"])
def test_no_width_of_the_scale_comes_nearer(kind, name):
    wanted = MATCHES[kind](contender().at(NANO.dims.d_model).cost)
    one = contender(name)
    found = match(one, wanted, kind)
    gap = abs(MATCHES[kind](found.cost) - wanted)
    for d_model in range(8, 129):
        try:
            other = one.at(d_model)
        except UserError:
            continue
        assert gap <= abs(MATCHES[kind](other.cost) - wanted)
    assert gap / wanted < 0.06


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(DECKS)), st.sampled_from(list(MATCHES)), st.floats(0.5, 2.0))
@settings(max_examples=25, deadline=None)
def test_what_is_matched_can_be_built_from_its_text_and_costs_what_it_says(seed, deck, kind, factor):
    import numpy as np

    genome = Space(NANO.num_slots, deck).sample(np.random.default_rng(seed))
    one = Contender(label="random", genome=genome, scale=NANO, toml="")
    found = match(one, factor * MATCHES[kind](one.at(NANO.dims.d_model).cost), kind)
    scale = read_scale(found.scale_toml(), "text")
    assert (scale.dims, scale.num_slots, scale.recipe) == (found.dims, NANO.num_slots, NANO.recipe)
    slots = decode(genome)
    model = LanguageModel(specify(slots, scale.dims))
    assert sum(p.numel() for p in model.parameters()) == found.cost.params == price(slots, scale.dims, 128).params


@pytest.mark.parametrize("name", ["tiny", "lfm2-1.2b", "gemma-3-4b", "gpt-2-124m"])
def test_the_text_of_a_file_keeps_all_but_the_sizes(name):
    text = TINY_TOML if name == "tiny" else catalogue.scale_text(name)
    scale = read_scale(text, name)
    one = contender("transformer-pp", scale, text).at(scale.dims.d_model + 2 * scale.dims.head_dim)
    again = read_scale(one.scale_toml(), name)
    assert again.dims == one.dims and again.recipe == scale.recipe and again.num_slots == scale.num_slots
