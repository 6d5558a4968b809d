"""Real training in place of the table: what a worker of a run does with a job."""

from functools import partial

from comparing.ledger import Train
from star.data.corpus import load_corpus
from star.evaluation.evaluate import EvaluationSettings, evaluate
from star.run.plan import rung_steps, target_of, trained_scale
from star.run.settings import RunConfig

CORPUS_BYTES = 32 << 20  # as a run reads at least


def real_trainer(config: RunConfig) -> Train:
    """Trains proxies on the corpus of the configuration."""
    settings = EvaluationSettings(scale=trained_scale(config), target=target_of(config), rungs=rung_steps(config))
    return partial(evaluate, settings=settings, corpus=load_corpus(config.corpus, CORPUS_BYTES))
