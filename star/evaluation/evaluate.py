"""Evaluate one genome: decode, price, build, train, score. A failure becomes a status."""

import os
import platform
import time
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch._dynamo  # noqa: F401  the first optimizer imports it, which would fall into the first proxy's time

from star.architecture.genome import decode
from star.architecture.scales import Recipe, Scale
from star.architecture.structures import specify
from star.cost.target import Target
from star.cost.training_memory import check_memory
from star.data.corpus import Corpus
from star.data.synthetic import TASKS
from star.evaluation.fingerprint import provenance
from star.evaluation.objectives import Outcome
from star.model.language_model import LanguageModel
from star.records import Arrays, Evaluation, Fit, Job, Result, Status
from star.training.allocator import is_out_of_memory, keep_freed_memory
from star.training.batches import Windows
from star.training.execution import Execution
from star.training.loop import Training
from star.training.loss import Diverged, check_corpus, measure
from star.training.probe import Probe, probe

_ERROR_LENGTH = 300
RUNG_SHARE = 4  # of the validation text, one part in so many: enough to judge at a rung
RUNGS, ORIGIN = "rungs", "origin"  # in the state of a training that paused: the quality at each, and by what


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """The settings that all genomes of a run share: trained at `scale`, priced at `target`."""

    scale: Scale
    target: Target
    rungs: tuple[int, ...] = ()  # steps after which a training is measured, and may pause to be judged
    rung_share: int = RUNG_SHARE  # they are measured on one part in so many of the validation text
    last_step: int = 0  # of a training that goes on beyond its recipe, which is open-ended; 0: the recipe's
    trains_on_text: bool = True
    device: str = "cpu"
    tasks: tuple[str, ...] = ()  # synthetic ones, each a training of its own


def evaluate(job: Job, settings: EvaluationSettings, corpus: Corpus) -> Result:
    """Train and score the proxy of one genome, or the part of it that the job asks for, on one thread: the result would
    depend on the number of threads.

    The evaluation has every objective that was measured, the weights are by parameter name, each shared weight once; a
    failure has neither. Raises no Exception: each becomes a status.
    """
    torch.set_num_threads(1)
    started = time.perf_counter()
    origin = ""
    try:
        settings = replace(settings, scale=replace(settings.scale, recipe=settings.scale.recipe.on(settings.device)))
        if job.tokens:
            settings = _prolonged(settings, job.tokens)
        origin = _find_origin(job, settings)
        with keep_freed_memory():
            result = _train(job, settings, corpus, origin)
        evaluation = result.evaluation
    except Exception as error:  # whatever a genome does, the search goes on
        result = None
        evaluation = Evaluation(
            hash=job.task.hash,
            status=classify(error),
            train_seconds=time.perf_counter() - started,
            error=describe(error),
        )
    seconds = time.perf_counter() - started
    evaluation = replace(evaluation, seconds=seconds, worker=f"{platform.node()}:{os.getpid()}")
    if result is None:
        return Result(task=job.task, evaluation=evaluation, origin=origin)
    return replace(result, evaluation=evaluation, origin=origin)


def _prolonged(settings: EvaluationSettings, tokens: int) -> EvaluationSettings:
    """Return the settings of a training on so many tokens in one go."""
    recipe = settings.scale.recipe
    if recipe.is_open_ended:
        return replace(settings, rungs=(), last_step=tokens // (recipe.batch_size * recipe.seq_len))
    return replace(settings, rungs=(), scale=replace(settings.scale, recipe=replace(recipe, tokens=tokens)))


def _find_origin(job: Job, settings: EvaluationSettings) -> str:
    """Return the fingerprint of what trained a proxy; empty if a paused one was trained elsewhere before."""
    own = provenance(settings.device)
    return own if not job.state or np.array_equal(job.state.get(ORIGIN, ()), _as_bytes(own)) else ""


def _as_bytes(text: str) -> np.ndarray:
    return np.array(bytearray(text.encode()), dtype=np.uint8)


def _train(job: Job, settings: EvaluationSettings, corpus: Corpus, origin: str) -> Result:
    cost, paused = settings.target.count(job.task.genome), job.until is not None
    model = _build(job, settings)
    trained = _train_on_text(model, job, settings, corpus) if settings.trains_on_text else None
    probes = {} if paused else _probe(model, job, settings)
    fits = [*([trained.fit] if trained else []), *probes.values()]
    outcome = Outcome(
        cost=cost,
        fit=trained.fit if trained else None,
        errors={name: one.error for name, one in probes.items()},
    )
    evaluation = Evaluation(
        hash=job.task.hash,
        status=Status.STOPPED if paused else Status.OK,
        objectives=outcome.columns(),
        loss_curve=fits[0].loss_curve,
        rungs=trained.rungs if trained else (),
        tokens=sum(one.tokens for one in fits),
        train_seconds=sum(one.seconds for one in fits),
    )
    if paused:
        assert trained, "only the training on text has rungs"
        return Result(task=job.task, evaluation=evaluation, state=trained.state | {ORIGIN: _as_bytes(origin)})
    weights = {name: tensor.float().cpu().numpy() for name, tensor in model.weights().items()}
    state = trained.state | {ORIGIN: _as_bytes(origin)} if trained and trained.state else {}
    return Result(task=job.task, evaluation=evaluation, weights=weights, state=state)


class _TextTraining(NamedTuple):
    """A training on text, as far as the job went."""

    fit: Fit
    rungs: tuple[float, ...]
    state: Arrays


def _train_on_text(model: LanguageModel, job: Job, settings: EvaluationSettings, corpus: Corpus) -> _TextTraining:
    recipe, paused = settings.scale.recipe, job.until is not None
    started = time.perf_counter()
    check_corpus(corpus, recipe)
    source = Windows(corpus.train, recipe, corpus.train_parts, corpus.bytes_per_token)
    execution = Execution(captures=settings.device == "cuda")
    training = Training(model, source, recipe, job.task.seed, execution)
    rungs: list[float] = []
    if job.state:
        training.restore(job.state)
        rungs = [] if job.tokens else job.state[RUNGS].tolist()
        assert training.step <= (settings.last_step or recipe.steps), "a state that is not beyond the end"
    for stop in settings.rungs[len(rungs) : job.until + 1 if paused else None]:
        training.advance(stop)
        with training.averaged():
            rungs.append(_measure(model, corpus, recipe, settings.rung_share))
    if not paused:
        training.advance(settings.last_step or recipe.steps)
    state = training.state() | {RUNGS: np.array(rungs)} if paused or recipe.is_open_ended else {}
    if not paused:
        training.use_average()
    quality = rungs[-1] if paused else _measure(model, corpus, recipe)
    seconds = time.perf_counter() - started
    fit = Fit(quality_bpb=quality, loss_curve=training.curve, tokens=training.tokens, seconds=seconds)
    return _TextTraining(fit, tuple(rungs), state)


def _measure(model: LanguageModel, corpus: Corpus, recipe: Recipe, share: int = 1) -> float:
    return measure(model, corpus.valid, recipe, share, corpus.valid_parts, corpus.bytes_per_token)


def _probe(model: LanguageModel, job: Job, settings: EvaluationSettings) -> dict[str, Probe]:
    """Train and test the model on each synthetic task. The given model takes the first task if no text was read."""
    probes = {}
    for name in settings.tasks:
        fresh = _build(job, settings) if settings.trains_on_text or probes else model
        probes[name] = probe(fresh, TASKS[name], settings.scale.recipe, job.task.seed)
    return probes


def classify(error: Exception) -> Status:
    """Return the status of a proxy that ended with `error`."""
    if isinstance(error, Diverged):
        return Status.DIVERGED
    if is_out_of_memory(error):
        return Status.OUT_OF_MEMORY
    return Status.FAILED


def describe(error: Exception) -> str:
    """Return an error in one line of bounded length."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:_ERROR_LENGTH].rstrip(": ")


def _build(job: Job, settings: EvaluationSettings) -> LanguageModel:
    slots = decode(job.task.genome)
    check_memory(slots, settings.scale.dims, settings.scale.recipe)
    torch.manual_seed(job.task.seed)
    model = LanguageModel(specify(slots, settings.scale.dims)).to(settings.device)
    for name, weight in model.weights().items():
        if name in job.inherited:
            weight.copy_(torch.from_numpy(job.inherited[name]))
    return model
