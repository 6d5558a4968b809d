"""Real training in place of the table: what a worker of a run does with a job."""

from functools import partial

from comparing.ledger import Train
from star.config import RunConfig, rung_steps, trained_scale
from star.data import load_corpus
from star.evaluation import EvaluationSettings, evaluate
from star.target import target_of

CORPUS_BYTES = 32 << 20  # as a run reads at least


def real_trainer(config: RunConfig) -> Train:
    """Trains proxies on the corpus of the configuration."""
    settings = EvaluationSettings(scale=trained_scale(config), target=target_of(config), rungs=rung_steps(config))
    return partial(evaluate, settings=settings, corpus=load_corpus(config.corpus, CORPUS_BYTES))
