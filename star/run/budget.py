"""Seconds that a person gives, as training tokens: measured once, and recorded with the run."""

import os
import time
from dataclasses import replace

import numpy as np
import torch

from star.architecture.genome import decode
from star.architecture.structures import specify
from star.data.corpus import Corpus
from star.errors import SettingError, UserError
from star.model.language_model import LanguageModel
from star.run.plan import RunPlan
from star.run.ranking import LONGER
from star.run.settings import Settings
from star.training.allocator import keep_freed_memory
from star.training.batches import Windows
from star.training.loop import Training

GENOMES = 6  # whose speed is measured
FIRST, STEPS = 2, 6  # steps that warm up, and steps that are measured
FRONT = 0.5  # of what is trained to the end is verified


def spend(settings: Settings, plan: RunPlan, corpus: Corpus) -> Settings:
    """Return settings with as many tokens a proxy as their `proxy_seconds` or their `budget` allow, at the speed that
    some random genomes have here. `plan` is theirs, with the default tokens.

    A budget of wall seconds is divided by the proxies that the run would train to their end; how many a race stops, and
    how many are verified, is foreseen and not known, so that a run takes about as long as that.

    Raises:
        UserError: the speed cannot be measured here, or the seconds are too few for one training step.
    """
    assert settings.budget or settings.proxy_seconds, "seconds to spend"
    seconds = settings.proxy_seconds or settings.budget * _workers(settings) / count_proxies(plan)
    steps = int(seconds / measure_step(plan, corpus))
    if not steps:
        name = "proxy_seconds" if settings.proxy_seconds else "budget"
        raise SettingError(name, f"is too short for one training step of a proxy at scale {settings.scale}")
    return replace(settings, budget=0.0, proxy_seconds=0.0, tokens=steps * plan.step_tokens)


def count_proxies(plan: RunPlan) -> float:
    """Return about how many proxies a run trains, as many as have the same tokens together: of a race one in eta passes
    each rung; the longer trainings of estimates have their share, and a verification is that of half of what is trained
    to the end. Nothing is screened: a prior holds for its own tokens alone.
    """
    settings, eta = plan.settings, plan.race.eta
    genomes = settings.population + settings.generations * settings.offspring
    passed, proxies = genomes, 0.0
    steps = (0, *plan.race.steps, plan.trained.recipe.steps)
    for before, stop in zip(steps, steps[1:], strict=False):
        proxies += passed * (stop - before) / steps[-1]
        passed = passed / eta if stop < steps[-1] else passed
    verified = FRONT * passed * settings.verify_tokens / settings.tokens
    if plan.estimation:
        return proxies / (1 - min(settings.longer_share, 0.9)) + verified * (1 - 1 / LONGER[0])
    return proxies + verified


def measure_step(plan: RunPlan, corpus: Corpus) -> float:
    """Return the mean seconds of a training step over some genomes of the run, on one thread as workers have."""
    if plan.placement.gpus_per_worker and not torch.cuda.is_available():
        raise UserError("seconds are measured on this machine, which has no GPU for that: give tokens instead")
    device = "cuda" if plan.placement.gpus_per_worker else "cpu"
    rng, recipe, threads = np.random.default_rng(0), plan.trained.recipe, torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = []
        for _ in range(GENOMES):
            slots = decode(plan.search.space.sample(rng))
            model = LanguageModel(specify(slots, plan.trained.dims)).to(device)
            training = Training(model, Windows(corpus.train, recipe, corpus.train_parts), recipe, seed=0)
            with keep_freed_memory():  # as a proxy is trained
                training.advance(FIRST)
                begun = time.perf_counter()
                training.advance(FIRST + STEPS)
                if device == "cuda":
                    torch.cuda.synchronize()
                seconds.append((time.perf_counter() - begun) / STEPS)
    finally:
        torch.set_num_threads(threads)
    return float(np.mean(seconds))


def _workers(settings: Settings) -> int:
    if settings.serial:
        return 1
    if not settings.workers and settings.address:
        raise SettingError("budget", "needs the number of workers on a cluster: give workers, or proxy_seconds")
    return settings.workers or os.cpu_count() or 1
