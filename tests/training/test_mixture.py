"""Training and validation on a mixture of weighted parts, and without one exactly as ever."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.tiny import TINY
from torch import Tensor, nn

from star.data.corpus import Corpus, Part, Stretch
from star.errors import UserError
from star.training.batches import Windows
from star.training.loss import check_corpus, measure

RECIPE = replace(TINY.recipe, batch_size=8, seq_len=16)


class Bigram(nn.Module):
    """Logits from a table of random numbers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Parameter(torch.randn(256, 256))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.table[tokens]


def ranges(sizes: list[int], gap: int = 0) -> list[range]:
    stops = np.cumsum([size + gap for size in sizes])
    return [range(int(stop) - gap - size, int(stop) - gap) for size, stop in zip(sizes, stops, strict=True)]


@given(
    sizes=st.lists(st.integers(17, 60), min_size=1, max_size=4),
    weights=st.lists(st.floats(1e-3, 1e3), min_size=4, max_size=4),
    gap=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_a_window_lies_in_one_part(sizes, weights, gap, seed):
    parts = ranges(sizes, gap)
    text = np.full(parts[-1].stop, 99, dtype=np.uint8)
    for number, part in enumerate(parts):
        text[part.start : part.stop] = number
    windows = Windows(text, RECIPE, list(map(Stretch, parts, weights)))
    rng = np.random.default_rng(seed)
    for _ in range(5):
        inputs, targets = windows.batch(rng)
        assert inputs.shape == targets.shape == (8, 16)
        assert (inputs == inputs[:, :1]).all() and (targets == inputs[:, :1]).all()
        assert inputs.max() < len(sizes)


def test_every_window_of_a_part_is_drawn():
    text = np.arange(60, dtype=np.uint8)
    windows = Windows(text, RECIPE, [Stretch(range(0, 17), 1.0), Stretch(range(20, 40), 1.0)])
    rng = np.random.default_rng(0)
    starts = {int(start) for _ in range(60) for start in windows.batch(rng)[0][:, 0]}
    assert starts == {0, *range(20, 24)}


def test_parts_are_drawn_in_proportion_to_their_weights():
    text, weights = np.repeat(np.arange(3, dtype=np.uint8), 100), [1.0, 2.0, 5.0]
    mixture = list(map(Stretch, ranges([100, 100, 100]), weights))
    windows, rng = Windows(text, replace(RECIPE, batch_size=40_000), mixture), np.random.default_rng(0)
    counts = np.bincount(windows.batch(rng)[0][:, 0], minlength=3)
    expected = np.array(weights) / 8 * 40_000
    assert ((counts - expected) ** 2 / expected).sum() < 13.8  # chi-squared with 2 degrees of freedom, 0.1 %


@given(size=st.integers(17, 5000), seed=st.integers(0, 99))
def test_without_a_mixture_the_places_are_those_of_one_draw(size, seed):
    text = np.random.default_rng(1).integers(0, 256, size).astype(np.uint8)
    starts = np.random.default_rng(seed).integers(0, size - 16, 8)
    inputs, targets = Windows(text, RECIPE).batch(np.random.default_rng(seed))
    for row, start in enumerate(starts):
        assert np.array_equal(inputs[row], text[start : start + 16])
        assert np.array_equal(targets[row], text[start + 1 : start + 17])


def test_a_mixture_is_measured_as_the_weighted_mean_of_its_parts():
    model, rng = Bigram(), np.random.default_rng(0)
    text = np.concatenate([rng.integers(low, low + 60, 2000).astype(np.uint8) for low in (0, 60, 120)])
    parts, weights = ranges([2000, 2000, 2000]), [1.0, 2.0, 5.0]
    recipe = replace(RECIPE, valid_tokens=16 * 80)
    alone = [
        measure(model, text[part.start : part.stop], replace(recipe, valid_tokens=16 * 10 * int(weight)))
        for part, weight in zip(parts, weights, strict=True)
    ]
    assert max(alone) - min(alone) > 0.01
    found = measure(model, text, recipe, mixture=list(map(Stretch, parts, weights)))
    assert found == pytest.approx(np.average(alone, weights=weights), rel=1e-12)
    scaled = [Stretch(part, 10 * weight) for part, weight in zip(parts, weights, strict=True)]
    assert measure(model, text, recipe, mixture=scaled) == pytest.approx(found, rel=1e-12)


def test_every_part_is_measured_on_one_window_at_least():
    seen = []

    class Spy(Bigram):
        def forward(self, tokens: Tensor) -> Tensor:
            seen.extend(tokens[:, 0].tolist())
            return torch.zeros(*tokens.shape, 256)

    text = np.repeat(np.arange(2, dtype=np.uint8), 500)
    mixture = [Stretch(range(0, 500), 1e-6), Stretch(range(500, 1000), 1.0)]
    assert measure(Spy(), text, replace(RECIPE, valid_tokens=160), mixture=mixture) == pytest.approx(math.log2(256))
    assert seen == [0] + [1] * 9


@pytest.mark.parametrize("train, valid", [(16, 100), (100, 16)])
def test_a_part_that_holds_no_window_is_refused(train, valid):
    text = np.zeros(500, dtype=np.uint8)
    whole = Part("books", range(0, 200), range(0, 200), 1.0)
    short = Part("web", range(200, 200 + train), range(200, 200 + valid), 1.0)
    check_corpus(Corpus("both", text, text, "", parts=(whole,)), RECIPE)
    with pytest.raises(UserError) as caught:
        check_corpus(Corpus("both", text, text, "", parts=(whole, short)), RECIPE)
    assert str(caught.value) == (
        f"corpus part web is too short: a window takes 17 tokens, and it has {train} for training and {valid} for "
        "validation"
    )
