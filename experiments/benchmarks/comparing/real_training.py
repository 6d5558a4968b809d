"""Real training in place of the table, as a worker of a run does it."""

from functools import partial

from comparing.budget import Train
from star.data.corpus import load_corpus
from star.evaluation.evaluate import evaluate
from star.run.evolve import evaluation_settings
from star.run.plan import plan_run
from star.run.settings import Settings

CORPUS_BYTES = 32 << 20  # as a run reads at least


def real_trainer(config: Settings) -> Train:
    """Return a trainer on the corpus of the configuration."""
    settings = evaluation_settings(plan_run(config))
    return partial(evaluate, settings=settings, corpus=load_corpus(config.corpus, CORPUS_BYTES))
