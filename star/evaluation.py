"""One genome in, one Evaluation out: decode, price, build, train, score. A failure becomes a status."""

import math
import os
import platform
import time
from dataclasses import dataclass

import numpy as np
import torch
import torch._dynamo  # noqa: F401  the first optimizer imports it, which would fall into the first proxy's time

from star.cost import price
from star.data import Corpus
from star.genome import decode
from star.latency import measure_latency
from star.model import LanguageModel
from star.objectives import OBJECTIVES, Outcome
from star.records import Evaluation, Status, Task
from star.scales import Scale
from star.structures import specify
from star.target import Target, TargetCost
from star.training import Diverged, fit

_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")
_ERROR_LENGTH = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """What is the same for every genome of a run: trained at `scale`, its costs counted at `target`."""

    scale: Scale
    target: Target
    measures_latency: bool = False


def derive_seed(run_seed: int, genome_hash: str) -> int:
    """The seed of one proxy, from the run's and the genome's own: the same on any worker, in any order."""
    return int(np.random.SeedSequence([run_seed, int(genome_hash, 16)]).generate_state(1, np.uint64)[0] >> 1)


def evaluate(task: Task, settings: EvaluationSettings, corpus: Corpus) -> tuple[Evaluation, dict[str, np.ndarray]]:
    """Train and score the proxy of one genome, on one thread: more would make its bits depend on their number.

    Returns the evaluation, with every objective that was measured, and the trained weights by parameter name, each
    shared weight once; a failure has no weights. Raises no Exception: each becomes a status.
    """
    torch.set_num_threads(1)
    started = time.perf_counter()
    training = ended = math.inf
    objectives: dict[str, float] = {}
    weights: dict[str, np.ndarray] = {}
    curve: tuple[float, ...] = ()
    status, message = Status.OK, ""
    try:
        model, cost = _build(task, settings)
        training = time.perf_counter()
        result = fit(model, corpus, settings.scale.recipe, task.seed)
        ended = time.perf_counter()
        curve = result.loss_curve
        latency = measure_latency(model, settings.target.context) if settings.measures_latency else None
        outcome = Outcome(cost=cost, fit=result, latency=latency)
        known = [one for one in OBJECTIVES.values() if latency or not one.needs_latency]
        objectives = {objective.column: objective.value(outcome) for objective in known}
        weights = {name: tensor.float().numpy() for name, tensor in model.weights().items()}
    except Exception as error:  # whatever a genome does, the search goes on
        status, message = classify(error), describe(error)
    stopped = time.perf_counter()
    return Evaluation(
        hash=task.hash,
        status=status,
        objectives=objectives,
        loss_curve=curve,
        train_seconds=max(0.0, min(ended, stopped) - training),
        seconds=stopped - started,
        worker=f"{platform.node()}:{os.getpid()}",
        error=message,
    ), weights


def classify(error: Exception) -> Status:
    """The status of a proxy that ended with `error`."""
    if isinstance(error, Diverged):
        return Status.DIVERGED
    # The allocator of torch raises a plain RuntimeError on the CPU.
    if isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _NO_MEMORY):
        return Status.OUT_OF_MEMORY
    return Status.FAILED


def describe(error: Exception) -> str:
    """An error in one line of bounded length."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:_ERROR_LENGTH].rstrip(": ")


def _build(task: Task, settings: EvaluationSettings) -> tuple[LanguageModel, TargetCost]:
    slots = decode(task.genome)
    cost = settings.target.count(task.genome)
    price(slots, settings.scale.dims)  # refuses what cannot be built, more clearly than torch would
    torch.manual_seed(task.seed)
    return LanguageModel(specify(slots, settings.scale.dims)), cost
