"""Passes captured as CUDA graphs: which models are captured, and that a GPU computes the same with them."""

import numpy as np
import pytest
import torch
from support.tiny import TINY

from star.architecture import catalogue
from star.architecture.genome import decode, parse
from star.architecture.structures import specify
from star.model.language_model import LanguageModel
from star.records import Genome
from star.training.batches import Windows
from star.training.execution import Execution
from star.training.loop import Training

TEXT = np.random.default_rng(0).integers(0, 256, 4096).astype(np.uint8)
CAPTURES = Execution(captures=True)
NAMES = [name for name in catalogue.names() if catalogue.load(name).scale is None]
EXPERTS = "7.1.1.1.1-33.1.1.1.1-34.1.1.1.1"


def train(genome: Genome, execution: Execution, device: str = "cpu") -> LanguageModel:
    torch.manual_seed(0)
    model = LanguageModel(specify(decode(genome), TINY.dims)).to(device)
    Training(model, Windows(TEXT, TINY.recipe), TINY.recipe, 0, execution).advance(6)
    return model


@pytest.fixture
def samples(monkeypatch):
    """The samples of passes that would be captured."""
    found = []

    def capture(model, inputs, allow_unused_input):
        assert model.training and allow_unused_input
        found.append(inputs[0])
        return model

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", capture)
    return found


def test_a_pass_is_captured_for_batches_of_the_recipe(samples):
    train(catalogue.load("lfm2-like").at(4), CAPTURES)
    [sample] = samples
    assert sample.shape == (TINY.recipe.batch_size, TINY.recipe.seq_len) and sample.dtype == torch.long


def test_neither_parts_of_a_batch_nor_experts_are_captured(samples):
    for genome, execution in (
        (catalogue.load("lfm2-like").at(4), Execution(captures=True, micro_batch=1)),
        (catalogue.load("lfm2-like").at(4), Execution()),
        (parse(EXPERTS), CAPTURES),
    ):
        train(genome, execution)
    assert not samples


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", NAMES)
def test_a_captured_training_is_that_of_separate_steps(name):
    genome = catalogue.load(name).at(4)
    eager, captured = (train(genome, execution, "cuda").weights() for execution in (Execution(), CAPTURES))
    for key, value in eager.items():
        torch.testing.assert_close(captured[key], value, rtol=1e-4, atol=1e-5, msg=key)
