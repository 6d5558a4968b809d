"""Does what a schedule asks for: trains on a pool, and records all that comes of it before anything follows from it."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from star.records import UNTRAINED, Arrays, Evaluation, Generation, Job, Order, Recorded, Result, Status, Task
from star.run.inheritance import WeightsLost, inherit_trained
from star.run.measurer import Measurer
from star.run.progress import Progress
from star.run.reuse import Reuse
from star.run.steps import Begun, Known, Measure, Schedule, Step, Stopped, Train, Wait
from star.run.summary import Clock, Summary
from star.workers.pool import Pool

UNTOLD = (Status.STOPPED, *UNTRAINED)  # of which people are not told when they are recorded


class Record(Protocol):
    """The record that a driver writes and reads back; `RunDirectory` keeps it on disk."""

    def new_warnings(self) -> list[str]: ...
    def append_evaluation(self, task: Task, evaluation: Evaluation, order: Order) -> None: ...
    def write_generation(self, generation: Generation, incomplete: Collection[str]) -> None: ...
    def save_weights(self, hash: str, weights: Arrays) -> None: ...
    def load_weights(self, hash: str) -> Arrays | None: ...
    def weights_path(self, hash: str) -> Path: ...
    def prune_weights(self, keep: set[str]) -> None: ...
    def save_state(self, hash: str, state: Arrays) -> None: ...
    def load_state(self, hash: str) -> Arrays | None: ...
    def prune_states(self, keep: set[str]) -> None: ...
    def append_longer(self, row: Recorded, tokens: int) -> None: ...
    def verified(self, tokens: int) -> Mapping[tuple[str, int], Evaluation]: ...


class Driver:
    """A schedule that is driven, and the record that it writes.

    Args:
        schedule: what is to be done.
        record: where to write.
        clock: is told of each training.
        progress: is told what happens.
        digest: of the corpus; without one no result is taken from the store or given to it.
        measurer: completes the latencies of the schedule, if it minimises such.
    """

    def __init__(
        self,
        schedule: Schedule,
        record: Record,
        clock: Clock,
        progress: Progress,
        digest: str = "",
        measurer: Measurer | None = None,
    ) -> None:
        self.core = schedule.core
        self._schedule = schedule
        self._record = record
        self._clock = clock
        self._progress = progress
        self._measurer = measurer
        self._is_warm = self.core.plan.settings.warm_weights
        self._reuse = Reuse(self.core.plan, digest, self.core.screen, progress.noted)
        self._estimated_from = ""  # as people were told
        self._in_flight: dict[str, Train] = {}  # what was asked for of a proxy that is in the pool, by hash

    def is_finished(self) -> bool:
        """Return whether the last generation and the weights of its front are on disk."""
        return self.core.is_finished and not self._without_weights()

    def finish(self, pool: Pool) -> None:
        """Go on to the last generation, and train again those of its front whose weights are lost."""
        self._tell_estimates()
        for generation in self.generations(pool):
            # Before the generation: killed in between, nobody needs a state of what has landed.
            self._record.prune_states(self._schedule.with_states())
            self.write(generation)
            self._record.prune_weights(self._schedule.with_weights())
            self.tell_warnings()
            self._progress.generation_finished(generation, self.core.usual_refusal)
            self._tell_estimates()
        # One that crowding once pushed out of a full front, with its weights, can have come back to it.
        for task in self._without_weights():
            self._train_again(task, pool)
        while pool.pending:
            self._land_again(pool.take())

    def summarise(self, run: str) -> Summary:
        """Return what the run of that name has come to."""
        known = [one.evaluation for one in self.core.known.values()]
        return self._clock.summarise(run, self.core.plan, self.core.latest, known, self.core.usual_refusal)

    def generations(self, pool: Pool) -> Iterator[Generation]:
        """Do what the schedule asks for, and yield each generation when it is closed."""
        while (step := self._schedule.next(pool.pending <= pool.num_workers)) is not None:
            if isinstance(step, Generation):
                yield step
            else:
                self._do(step, pool)

    def write(self, generation: Generation) -> None:
        """Write a generation that the schedule has given."""
        self._record.write_generation(generation, self._schedule.incomplete())

    def _tell_estimates(self) -> None:
        """Tell people from what the quality of candidates is estimated, whenever that changes."""
        if self.core.scores.sentence != self._estimated_from:
            self._estimated_from = self.core.scores.sentence
            self._progress.noted(self._estimated_from)

    def tell_warnings(self) -> None:
        """Tell people of the damaged files that were met since the last time."""
        for sentence in self._record.new_warnings():
            self._progress.noted(sentence)

    def _do(self, step: Step, pool: Pool) -> None:
        match step:
            case Train(task, _, _, tokens) if tokens and (found := self._verified(task, tokens)):
                self._land_longer(task, found, tokens)
            case Train(task, until, _, tokens):
                if not tokens and (found := self._reuse.find(task, until)):
                    self._land_stored(task, found)
                else:
                    self._in_flight[task.hash] = step
                    pool.submit(self._job(step))
            case Known(task, evaluation):
                self._append(task, evaluation)
            case Measure(genomes):
                assert self._measurer, "a run that minimises latency"
                self._measurer.complete(genomes)
            case Wait():
                self._land(pool.take())
            case Begun():
                self._progress.generation_started(*step)
            case Stopped(evaluation):
                self._progress.evaluated(evaluation)

    def _job(self, step: Train) -> Job:
        """Return the next part of a training: from where it paused, or else from its beginning."""
        hash = step.task.hash
        state = self._record.load_state(hash) if hash in self.core.known else None
        inherited = {} if state else self._inherited(step)
        times = max(1.0, step.tokens / self.core.plan.settings.tokens)
        return Job(
            task=step.task, until=step.until, state=state or {}, inherited=inherited, tokens=step.tokens, times=times
        )

    def _inherited(self, step: Train) -> Arrays:
        """Return what a genome begins with in a run with warm weights: from those parents that were trained to the
        end."""
        if not self._is_warm:
            return {}
        try:
            return inherit_trained(step.task.genome, step.parents, self._record.load_weights)
        except WeightsLost as lost:
            self._progress.noted(f"the weights of {lost} are lost: its child {step.task.hash} begins with random ones")
            return {}

    def _land(self, result: Result) -> None:
        """Take what a worker gave."""
        self._clock.landed(result.evaluation)
        hash = result.task.hash
        step = self._in_flight.pop(hash)
        # Arrays before the evaluation: once that is on disk nobody trains this part again.
        if result.state:
            self._record.save_state(hash, result.state)
        if step.tokens:
            self._land_longer(result.task, result.evaluation, step.tokens)
            return
        before = self.core.known.get(hash)
        evaluation = self.core.join(result.task, result.evaluation)
        if evaluation.status is Status.OK and self.core.is_wanted(evaluation):
            self._save_weights(result)
        # Recorded before it is stored: what a run finds in the store has come in another order than what it trained.
        self._append(result.task, evaluation)
        self._reuse.keep(result, evaluation, before.evaluation if before else None, step.until)

    def _verified(self, task: Task, tokens: int) -> Evaluation | None:
        """Return a longer training that a verification has made; None if there is none."""
        return self._record.verified(tokens).get((task.hash, task.seed))

    def _land_longer(self, task: Task, evaluation: Evaluation, tokens: int) -> None:
        """Take a longer training."""
        self._record.append_longer(self._schedule.report(task, evaluation, tokens), tokens)
        if evaluation.status is not Status.OK:
            reason = f"{evaluation.status}: {evaluation.error}"
            self._progress.noted(f"proxy {task.hash} could not be trained on {tokens:,} tokens, {reason}")

    def _land_stored(self, task: Task, found: Evaluation) -> None:
        """Take what the store gave. Weights that it does not have are trained at the end, if they are wanted then."""
        evaluation = self.core.join(task, found)
        if evaluation.status is Status.OK and self.core.is_wanted(evaluation):
            self._reuse.take_weights(task, self._record.weights_path(task.hash))
        self._append(task, evaluation)

    def _append(self, task: Task, evaluation: Evaluation) -> None:
        self._record.append_evaluation(*self._schedule.report(task, evaluation))
        if evaluation.status not in UNTOLD:
            self._progress.evaluated(evaluation)

    def _save_weights(self, result: Result) -> None:
        self._record.save_weights(result.task.hash, result.weights)
        self._reuse.keep_weights(result, self._record.weights_path(result.task.hash))

    def _without_weights(self) -> list[Task]:
        """Return the tasks of the members of the front whose weights are not on disk."""
        lost = [one.genome for one in self.core.latest.front if self._record.load_weights(one.hash) is None]
        return [self.core.plan.task(genome) for genome in lost]

    def _train_again(self, task: Task, pool: Pool) -> None:
        """Give a proxy its weights, which are lost: those in the store, or else train it to the end."""
        if self._reuse.take_weights(task, self._record.weights_path(task.hash)):
            return
        if self._is_warm:
            self._progress.noted(f"the weights of {task.hash} are lost, and trained again from random ones")
        pool.submit(Job(task=task))

    def _land_again(self, result: Result) -> None:
        self._clock.landed(result.evaluation)
        if result.weights:
            self._save_weights(result)
        else:
            reason = f"{result.evaluation.status}: {result.evaluation.error}"
            self._progress.noted(f"the weights of {result.task.hash} could not be made again, {reason}")
