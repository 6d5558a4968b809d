"""The proxies of a run: which have to be trained and how far, what is known of them, and what of that is kept."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from star.architecture.genome import canonical, decode, genome_hash
from star.architecture.structures import rules_of
from star.evaluation.evaluate import derive_seed
from star.evaluation.objectives import QUALITY
from star.records import STORE, Arrays, Evaluation, Genome, Individual, Job, Result, Status, Task
from star.run.inheritance import inherit
from star.run.plan import RunPlan
from star.run.progress import Progress
from star.run.reuse import Reuse
from star.run.settings import read_record
from star.run.summary import Clock
from star.search.front import front_mask
from star.search.racing import promoted
from star.storage.run_directory import WEIGHTS, RunDirectory
from star.workers.pool import Pool


class Proxies:
    """Evaluations by hash, as far as they have come. Whatever lands is on disk before anything follows from it."""

    def __init__(self, plan: RunPlan, run: RunDirectory, clock: Clock, progress: Progress) -> None:
        self.columns = plan.columns
        self.screen = plan.screen()
        self.results: dict[str, Evaluation] = run.evaluations()
        self._plan = plan
        self._is_warm = plan.settings.warm_weights
        self._run = run
        self._clock = clock
        self._progress = progress
        recipe = plan.trained.recipe
        self._stops = plan.race.steps
        self._step_tokens = recipe.batch_size * recipe.seq_len
        self._all_tokens = recipe.steps * self._step_tokens
        self._front: list[list[float]] = []  # of the run, for as long as a generation is being trained
        digest = read_record(run.config_toml).get("corpus_digest", "")
        self._reuse = Reuse(plan, digest, self.screen, progress.noted)
        self._parents: dict[str, Sequence[Individual]] = {}

    def task(self, genome: Genome) -> Task:
        """The task of a genome."""
        genome = canonical(genome)
        hash = genome_hash(genome)
        return Task(genome=genome, hash=hash, seed=derive_seed(self._plan.search.seed, hash))

    def values(self, one: Individual | Evaluation, rung: int | None = None) -> list[float]:
        """The run's objectives of one; the quality is that at a rung if one is given."""
        own = one.objectives if rung is None else one.objectives | {QUALITY: one.rungs[rung]}
        return [own[name] for name in self.columns]

    def objectives(self, hash: str) -> dict[str, float]:
        """The same by name, as an individual holds them; empty after a failure."""
        evaluation = self.results[hash]
        is_known = evaluation.status in (Status.OK, Status.STOPPED)
        return dict(zip(self.columns, self.values(evaluation), strict=True)) if is_known else {}

    def shortfall(self, hash: str) -> float:
        """How far a stopped one was from its end; of those equally far, the better ones are a little nearer."""
        evaluation = self.results[hash]
        if evaluation.status is not Status.STOPPED:
            return 0.0
        quality = evaluation.objectives[QUALITY]
        return 1 - evaluation.tokens / self._all_tokens + 1e-3 * quality / (1 + quality)

    def descend(self, task: Task, parents: Sequence[Individual]) -> None:
        """Say from whom a genome descends, which is to be trained: with warm weights it begins with theirs."""
        self._parents.setdefault(task.hash, parents)

    def unsettled(self) -> set[str]:
        """The hashes of which more may be recorded than is known, while a generation is not being trained."""
        return set()

    def train(
        self, pool: Pool, number: int, tasks: Sequence[Task], fresh: set[str], elders: Sequence[Individual]
    ) -> None:
        """Fill `results` for all tasks of a generation; `fresh` are the hashes that it asks for first, `elders` the
        population and the front that they compete with."""
        self._turn_away(number, tasks)
        runners = [task for task in tasks if task.hash in fresh and self._can_run(task.hash)]
        self._progress.generation_started(number, len(tasks), sum(self._is_open(one.hash, None) for one in runners))
        alive = [one for one in elders if one.status is Status.OK]
        landed = [self.results[task.hash] for task in tasks if task.hash in self.results]
        self._front = [self.values(one) for one in (*alive, *landed) if one.status is Status.OK]
        known = [self.results[one.hash] for one in elders if one.hash in self.results]
        rivals = [one for one in known if one.status in (Status.OK, Status.STOPPED)]
        for rung in range(len(self._stops)):
            self._train_to(pool, number, runners, rung)
            runners = self._judge(runners, rung, rivals)
        self._train_to(pool, number, runners, None)
        self._run.prune_states(set())

    def train_again(self, pool: Pool, genomes: Iterable[Genome]) -> None:
        """Give these their weights, which are lost: those in the store, or else train them to the end."""
        for task in map(self.task, genomes):
            if not self._reuse.take_weights(task, self._weights_path(task)):
                if self._is_warm:
                    self._progress.noted(f"the weights of {task.hash} are lost, and trained again from random ones")
                pool.submit(Job(task=task))
        while pool.pending:
            result = pool.take()
            self._clock.landed(result.evaluation)
            if result.weights:
                self._save_weights(result)
            else:
                reason = f"{result.evaluation.status}: {result.evaluation.error}"
                self._progress.noted(f"the weights of {result.task.hash} could not be made again, {reason}")

    def _train_to(self, pool: Pool, number: int, tasks: Sequence[Task], rung: int | None) -> None:
        """As many jobs wait as keep all workers busy: each may hold the state of a whole training."""
        waiting = deque(sorted((task for task in tasks if self._is_open(task.hash, rung)), key=longest_first))
        while waiting or pool.pending:
            while waiting and pool.pending <= pool.num_workers:
                task = waiting.popleft()
                if evaluation := self._reuse.find(task, rung):
                    self._land_known(Result(task=task, evaluation=evaluation), number)
                else:
                    pool.submit(self._job(task, rung))
            if pool.pending:
                self._land(pool.take(), number, rung)

    def _job(self, task: Task, rung: int | None) -> Job:
        """The next part of a training: from where it paused, or else from its beginning."""
        state = self._run.load_state(task.hash) if task.hash in self.results else None
        return Job(task=task, until=rung, state=state or {}, inherited={} if state else self._inherited(task))

    def _inherited(self, task: Task) -> Arrays:
        """What a genome begins with, in a run with warm weights: that of those parents that were trained to the end."""
        if not self._is_warm:
            return {}
        parents = [one for one in self._parents.get(task.hash, ()) if one.status is Status.OK]
        weights = [self._run.load_weights(one.hash) for one in parents]
        if lost := [one.hash for one, arrays in zip(parents, weights, strict=True) if arrays is None]:
            self._progress.noted(f"the weights of {lost[0]} are lost: its child {task.hash} begins with random ones")
            return {}
        return inherit(task.genome, [(one.genome, arrays) for one, arrays in zip(parents, weights, strict=True)])

    def _land(self, result: Result, number: int, rung: int | None = None) -> None:
        """Take what a worker gave that was to train up to a rung, or to the end."""
        self._clock.landed(result.evaluation)
        before = self.results.get(result.task.hash)
        evaluation = self._joined(result.evaluation, number)
        # Arrays before the evaluation: once that is on disk nobody trains this part again.
        if evaluation.status is Status.STOPPED:
            self._run.save_state(evaluation.hash, result.state)
        if evaluation.status is Status.OK and self._enter(evaluation):
            self._save_weights(result)
        # Recorded before it is stored: what a run finds in the store has come in another order than what it trained.
        self._record(result.task, evaluation)
        self._reuse.keep(result, evaluation, before, rung)

    def _land_known(self, result: Result, number: int) -> None:
        """Take what the store gave. Weights that it does not have are trained at the end, if they are wanted then."""
        evaluation = self._joined(result.evaluation, number)
        if evaluation.status is Status.OK and self._enter(evaluation):
            self._reuse.take_weights(result.task, self._weights_path(result.task))
        self._record(result.task, evaluation)

    def _joined(self, evaluation: Evaluation, number: int) -> Evaluation:
        """A result, and what is known of the parts before it. One that failed has the rungs that it passed, at which
        others were judged beside it."""
        evaluation = replace(evaluation, generation=number)
        before = self.results.get(evaluation.hash)
        if before is None:
            return evaluation
        if evaluation.status not in (Status.OK, Status.STOPPED):
            costs = {name: value for name, value in before.objectives.items() if name != QUALITY}
            passed = {"rungs": before.rungs, "tokens": before.tokens, "loss_curve": before.loss_curve}
            evaluation = replace(evaluation, objectives=costs, **passed)
        if evaluation.worker == STORE:
            return evaluation
        return replace(
            evaluation,
            seconds=before.seconds + evaluation.seconds,
            train_seconds=before.train_seconds + evaluation.train_seconds,
            retries=dict(Counter(before.retries) + Counter(evaluation.retries)),
        )

    def _enter(self, evaluation: Evaluation) -> bool:
        """Let one that has landed compete for the front, and tell whether its weights are kept: if it may stay there,
        or be a parent that leaves them to its children."""
        self._front.append(self.values(evaluation))
        mask = front_mask(np.array(self._front))
        self._front = [values for values, is_best in zip(self._front, mask, strict=True) if is_best]
        return self._is_warm or bool(mask[-1])

    def _save_weights(self, result: Result) -> None:
        self._run.save_weights(result.task.hash, result.weights)
        self._reuse.keep_weights(result, self._weights_path(result.task))

    def _weights_path(self, task: Task) -> Path:
        return self._run.path / WEIGHTS / f"{task.hash}.safetensors"

    def _record(self, task: Task, evaluation: Evaluation) -> None:
        self._run.append_evaluation(task, evaluation)
        self.results[task.hash] = evaluation
        if evaluation.status not in (Status.STOPPED, Status.INFEASIBLE):
            self._progress.evaluated(evaluation)

    def _judge(self, tasks: Sequence[Task], rung: int, rivals: Sequence[Evaluation]) -> list[Task]:
        """Those that go on beyond a rung. A race is a function of what is recorded: resumed, it goes the same way."""
        runners = [task for task in tasks if len(self.results[task.hash].rungs) > rung]
        own = np.array([self.values(self.results[task.hash], rung) for task in runners])
        others = np.array([self.values(one, rung) for one in rivals if len(one.rungs) > rung])
        stays = promoted(own, others, self.columns.index(QUALITY), self._plan.race.eta)
        for task, goes_on in zip(runners, stays, strict=True):
            if not goes_on:
                self._progress.evaluated(self.results[task.hash])
        return [task for task, goes_on in zip(runners, stays, strict=True) if goes_on]

    def _turn_away(self, number: int, tasks: Sequence[Task]) -> None:
        """Record what is infeasible: its costs are known and its quality nobody asks for."""
        for task in tasks:
            refusal = self.screen.refusal(task.genome)
            if refusal and task.hash not in self.results:
                cost = self.screen.cost(task.genome)
                evaluation = Evaluation(
                    hash=task.hash,
                    status=Status.INFEASIBLE,
                    objectives=cost.columns() if cost else {},
                    generation=number,
                    error=refusal,
                )
                self._record(task, evaluation)

    def _can_run(self, hash: str) -> bool:
        """Whether there is a quality to know of a genome, at a rung at least."""
        known = self.results.get(hash)
        return known is None or known.status in (Status.OK, Status.STOPPED) or bool(known.rungs)

    def _is_open(self, hash: str, rung: int | None) -> bool:
        """Whether a genome has yet to be trained up to a rung, or to the end."""
        if hash not in self.results:
            return True
        evaluation = self.results[hash]
        return evaluation.status is Status.STOPPED and (rung is None or len(evaluation.rungs) <= rung)


def longest_first(task: Task) -> tuple[float, str]:
    """Orders tasks so that no worker begins a long proxy when the others have nothing left."""
    livs = [slot.liv for slot in decode(task.genome)]
    return -sum(rules_of(liv).relative_time * (1 + liv.differential) for liv in livs), task.hash
