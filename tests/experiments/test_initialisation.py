"""Initial weights that models have in common."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "experiments" / "benchmarks"))  # as Python does for scripts that stand there

from measuring.initialisation import paired_weights  # noqa: E402

from star.architecture.genome import DECK, Space, decode, parse  # noqa: E402
from star.architecture.scales import SCALES  # noqa: E402
from star.architecture.structures import specify  # noqa: E402
from star.model.language_model import LanguageModel  # noqa: E402

DIMS = SCALES["nano"].dims
SPACE = Space(4, "extended")


def build(genome, seed=3):
    with paired_weights(seed):
        return LanguageModel(specify(decode(genome), DIMS)).weights()


@given(st.integers(0, 2**32), st.integers(0, 3), st.sampled_from(sorted(DECK)))
def test_genomes_that_differ_in_one_slot_begin_alike_in_all_others(seed, slot, number):
    genome = SPACE.sample(np.random.default_rng(seed))
    # Nothing is shared between slots, and none is empty: models have no empty slots.
    private = [max(1, value) if i % 5 == 0 else 1 for i, value in enumerate(genome)]
    other = list(private)
    other[5 * slot] = number
    one, two = build(tuple(private)), build(tuple(other))
    for name in one.keys() | two.keys():
        if not name.startswith((f"layers.{slot}.", f"norms.{slot}.")):
            assert torch.equal(one[name], two[name]), name


def test_slots_and_seeds_begin_differently():
    one, other = build(parse("11111-11111")), build(parse("11111-11111"), seed=4)
    assert not torch.equal(one["layers.0.featurizer.C.channels.weight"], one["layers.1.featurizer.C.channels.weight"])
    assert not torch.equal(one["embedding.weight"], other["embedding.weight"])


def test_copies_of_a_differential_operator_begin_differently():
    weights = build(parse("101111"))
    pairs = [(name, name.replace(".a.", ".b.")) for name in weights if ".a." in name and weights[name].std() > 0]
    assert pairs and not any(torch.equal(weights[a], weights[b]) for a, b in pairs)


def test_equal_features_of_different_operators_begin_alike():
    """Queries of attention with and without grouped keys."""
    one, other = build(parse("11111")), build(parse("31111"))
    assert torch.equal(one["layers.0.featurizer.C.channels.weight"], other["layers.0.featurizer.C.channels.weight"])
    assert one["layers.0.featurizer.B.channels.weight"].shape != other["layers.0.featurizer.B.channels.weight"].shape


def test_what_is_built_later_draws_as_usual():
    with pytest.raises(RuntimeError), paired_weights(0):
        raise RuntimeError
    torch.manual_seed(5)
    expected = torch.nn.Linear(3, 3).weight
    torch.manual_seed(5)
    assert torch.equal(torch.nn.Linear(3, 3).weight, expected)
    torch.manual_seed(5)
    torch.nn.Sequential(torch.nn.Linear(2, 2))
    first = torch.rand(1)
    torch.manual_seed(5)
    torch.nn.Sequential(torch.nn.Linear(2, 2))
    assert torch.equal(torch.rand(1), first)
