"""Train one architecture, with checkpoints from which a stopped training goes on to the same bits."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType

import torch

from star.architecture.genome import decode
from star.architecture.structures import specify
from star.cost.cost import price
from star.data.corpus import Corpus
from star.errors import UserError
from star.model.language_model import LanguageModel
from star.records import Arrays
from star.storage.training_directory import Row, TrainingDirectory
from star.trainer.plan import TrainPlan
from star.trainer.processes import Processes
from star.trainer.throughput import measure_peak
from star.training.allocator import keep_freed_memory
from star.training.batches import Windows
from star.training.execution import Execution
from star.training.loop import Training
from star.training.loss import Measured, check_corpus, measure_windows
from star.training.schedule import schedule

LAST_VALID = 262_144  # tokens of validation at the end, at least, where there are as many
ORIGIN = "origin"  # in the facts of a checkpoint: the digest of what decides the result
OTHER = "the weights to begin with are those of another model"
PASSES = 3  # a training step costs as many forward passes


class Stopped(Exception):
    """The training was asked to stop, and has, after a checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of a training: the rows of its curve, the quality at the end, and the weights."""

    rows: list[Row]
    quality: Measured
    weights: Arrays


class Watcher:
    """Is told what happens in a training. Each method does nothing, so that a subclass has those that it needs."""

    def noted(self, sentence: str) -> None:
        """Something that a person should know."""

    def started(self, plan: TrainPlan, step: int, params: int) -> None:
        """The training goes on after so many steps."""

    def recorded(self, row: Row) -> None:
        """A checkpoint was written."""


class Trainer:
    """Trains what a plan says and records it in a directory, from its latest checkpoint on.

    Args:
        plan: what to train, with the vocabulary of its tokenizer.
        corpus: tokens to train on and to measure on.
        directory: where to record it; locked by this process, if it is the first.
        processes: all that train together.
        watcher: is told what happens.
        initial: weights to begin with, by name; none: random ones.
        origin: a digest of what decides the result, which checkpoints must have.
    """

    def __init__(
        self,
        plan: TrainPlan,
        corpus: Corpus,
        directory: TrainingDirectory,
        processes: Processes,
        watcher: Watcher,
        initial: Arrays,
        origin: str,
    ) -> None:
        self._plan, self._corpus, self._processes = plan, corpus, processes
        self._directory, self._watcher = directory, watcher
        settings = plan.settings
        check_corpus(corpus, plan.recipe)
        if plan.recipe.batch_size % processes.world:
            raise UserError(f"a batch of {plan.recipe.batch_size} cannot be divided among {processes.world} processes")
        if settings.threads and processes.device == "cpu":
            torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        spec = specify(decode(plan.genome), plan.dims)
        self.model = LanguageModel(spec).to(processes.device)
        _load(self.model, initial)
        self._origin = origin
        cost = price(spec.slots, plan.dims, plan.recipe.seq_len)
        self._step_flops = PASSES * cost.flops_per_token * plan.step_tokens
        self._params = cost.params
        self._training = Training(
            self.model,
            Windows(corpus.train, plan.recipe, corpus.train_parts, corpus.bytes_per_token),
            plan.recipe,
            settings.seed,
            Execution(
                micro_batch=settings.micro_batch,
                recomputes=settings.recompute,
                compiles=settings.compile,
                rank=processes.rank,
                world=processes.world,
            ),
            closes=False,
        )
        self._rows: list[Row] = []
        self._peak = 0.0
        self._stop = False

    def run(self) -> Outcome:
        """Train to the end.

        Raises:
            Stopped: SIGINT or SIGTERM came; a checkpoint was written.
            Diverged: a loss or a gradient is not finite.
            UserError: a checkpoint cannot be written.
        """
        plan, training = self._plan, self._training
        if self._processes.is_first:
            self._watcher.started(plan, training.step, self._params)
        if training.step < plan.recipe.steps and self._processes.is_first:
            dtype = plan.recipe.dtype
            self._peak = plan.settings.peak_flops or measure_peak(self._processes.device, dtype)
        with self._stoppable(), keep_freed_memory():
            while training.step < plan.recipe.steps:
                self._advance(plan.next_stop(training.step))
        if self._processes.is_first:  # what a process that was killed after its last checkpoint has left
            self._directory.drop_checkpoints(plan.settings.keep, plan.decay_start)
        weights = {name: one.float().cpu().numpy() for name, one in self.model.weights().items()}
        return Outcome(rows=self._rows, quality=self._measure(whole=True), weights=weights)

    def _advance(self, stop: int) -> None:
        """Train up to a checkpoint, and write it."""
        begun, first = time.perf_counter(), self._training.step
        while self._training.step < stop and not self._stop:
            self._training.advance(self._training.step + 1)
        if self._processes.device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begun
        if self._training.step == first:
            raise Stopped
        if self._training.step == stop:
            self._record(seconds, stop - first)
        self._write()
        if self._training.step < stop:
            raise Stopped

    def _record(self, seconds: float, steps: int) -> None:
        """Measure, and add a row to the curve."""
        plan, step = self._plan, self._training.step
        self._training.close_stretch()
        quality = self._measure()
        speed = steps * plan.step_tokens / seconds
        row = {
            "step": step,
            "tokens": step * plan.step_tokens,
            "train_bpb": self._training.curve[-1],
            "valid_bpb": quality.mean,
            "learning_rate": plan.recipe.learning_rate * schedule(step - 1, plan.recipe),
            "seconds": (self._rows[-1]["seconds"] if self._rows else 0.0) + seconds,
            "tokens_per_second": speed,
            "utilisation": steps * self._step_flops / seconds / (self._peak * self._processes.world)
            if self._peak
            else 0.0,
        }
        self._rows.append(row)
        if self._processes.is_first:
            self._directory.write_curve(self._rows)
            self._watcher.recorded(row)

    def _measure(self, whole: bool = False) -> Measured:
        """Return the quality on as many tokens as the recipe says, or with `whole` on those for the end."""
        recipe = self._plan.recipe
        rows = self._plan.settings.micro_batch or recipe.batch_size // self._processes.world
        tokens = max(recipe.valid_tokens, LAST_VALID) if whole else recipe.valid_tokens
        recipe = replace(recipe, batch_size=rows, valid_tokens=tokens)
        return measure_windows(self.model, self._corpus, recipe)

    def _write(self) -> None:
        """Write a checkpoint. All processes call this; the first one writes."""
        state = self._training.state()
        if self._processes.is_first:
            self._directory.write_checkpoint(self._training.step, state, {ORIGIN: self._origin})
            self._directory.drop_checkpoints(self._plan.settings.keep, self._plan.decay_start)
        self._processes.wait()

    def restore(self, step: int) -> None:
        """Go on from the checkpoint after so many steps.

        Raises:
            UserError: it is one of another training.
        """
        checkpoint = self._directory.read_checkpoint(step)
        assert checkpoint, "it was found sound"
        state, facts = checkpoint
        if facts.get(ORIGIN) != self._origin:
            place = self._directory.checkpoint_path(step)
            raise UserError(f"{place} is a checkpoint of another training: remove it")
        self._training.restore(state)
        self._rows = [row for row in self._directory.read_curve() if row["step"] <= step]

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Stop after the present step at SIGINT and SIGTERM, where no other process would wait for this one."""

        def stop(number: int, frame: FrameType | None) -> None:
            self._stop = True

        if self._processes.world > 1 or threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in previous.items():
                signal.signal(one, handler)


@torch.no_grad()
def _load(model: LanguageModel, initial: Arrays) -> None:
    """Put weights into a model, by name.

    Raises:
        UserError: they are those of another model.
    """
    if not initial:
        return
    own = model.weights()
    for name, one in own.items():
        if name not in initial or initial[name].shape != tuple(one.shape):
            raise UserError(f"{OTHER}: {name} is missing or of another shape")
    if extra := sorted(set(initial) - set(own)):
        raise UserError(f"{OTHER}: this one has no {extra[0]}")
    for name, one in own.items():
        one.copy_(torch.from_numpy(initial[name]))
