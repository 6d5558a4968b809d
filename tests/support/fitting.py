"""A training from beginning to end, then its measurement, as a proxy gets it."""

import time

from torch import nn

from star.architecture.scales import Recipe
from star.data.corpus import Corpus
from star.records import Fit
from star.training.batches import Windows
from star.training.loop import Training
from star.training.loss import check_corpus, measure


def fit(model: nn.Module, corpus: Corpus, recipe: Recipe, seed: int) -> Fit:
    """Train `model` in place and measure it. Raises Diverged, and UserError if the corpus is too short."""
    check_corpus(corpus, recipe)
    started = time.perf_counter()
    training = Training(model, Windows(corpus.train, recipe), recipe, seed)
    training.advance(recipe.steps)
    quality = measure(model, corpus.valid, recipe)
    seconds = time.perf_counter() - started
    return Fit(quality_bpb=quality, loss_curve=training.curve, tokens=training.tokens, seconds=seconds)
