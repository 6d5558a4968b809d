"""The loop itself: ask, train, tell, record, generation after generation."""

from collections import Counter
from dataclasses import replace

import numpy as np

from star.checkpoint import RunDirectory
from star.config import RunConfig
from star.evaluation import derive_seed
from star.evolve.progress import Progress
from star.evolve.summary import Clock
from star.genome import canonical, decode, genome_hash, parse
from star.objectives import find_objectives
from star.records import Evaluation, Generation, Genome, Individual, Status, Task
from star.search import Proposal, Search, front_mask, hypervolume, objective_matrix, reference_box, space_of
from star.structures import rules_of
from star.target import screen_of
from star.workers import Pool

NO_FAILURES = (Status.OK, Status.INFEASIBLE)


class Evolution:
    """A search in progress, standing at the end of its latest recorded generation.

    What comes out depends neither on the order in which proxies end, nor on the worker that trained them, nor
    on interruptions: seeds follow from genomes, and what has landed of an unfinished generation is no more than
    a store of results for it.
    """

    def __init__(self, config: RunConfig, run: RunDirectory, clock: Clock, progress: Progress) -> None:
        self._config = config
        self._run = run
        self._clock = clock
        self._progress = progress
        self._warned = 0
        self._columns = [objective.column for objective in find_objectives(config.objectives)]
        recorded = run.generations()  # all of them, so that a torn one is told of
        self.latest = recorded[-1] if recorded else None
        self._reference = self.latest.reference if self.latest else None
        self._screen = screen_of(config)
        self._refusals: Counter[str] = Counter()  # of this process: for people, no part of the result
        self._search = self._make_search()
        self._results = run.evaluations()
        number = self.latest.number if self.latest else -1
        self._asked = {hash for hash, one in self._results.items() if one.generation <= number}
        if self._is_last():
            self._prune_weights()
        self._tell_warnings()

    def is_finished(self) -> bool:
        """Whether the last generation and the weights of its front are on disk."""
        return self._is_last() and not self._without_weights()

    def usual_refusal(self) -> str:
        """Why most of the candidates were turned away that this process met; empty if none were."""
        return self._refusals.most_common(1)[0][0] if self._refusals else ""

    def finish(self, pool: Pool) -> Generation:
        """Go on to the last generation."""
        while not self._is_last():
            self._advance(pool)
        # One that crowding once pushed out of a full front, with its weights, can have come back to it.
        for task, evaluation, weights in pool.run(self._without_weights()):
            self._clock.landed(evaluation)
            if weights:
                self._run.save_weights(task.hash, weights)
        return self.latest

    def _advance(self, pool: Pool) -> None:
        number = self.latest.number + 1 if self.latest else 0
        dropped = -self._search.duplicates_avoided
        proposals = self._search.ask()
        dropped += self._search.duplicates_avoided
        for genome in self._search.refused:
            self._refusals.update(self._screen.reasons(genome))
        tasks = [_make_task(proposal.genome, self._config.seed) for proposal in proposals]
        fresh = {task.hash for task in tasks} - self._asked
        self._train(pool, number, tasks, fresh)
        self._asked |= fresh
        born = [self._individual(*pair, number) for pair in zip(proposals, tasks, strict=True)]
        trained = sum(self._results[hash].status is not Status.INFEASIBLE for hash in fresh)
        self.latest = self._select(number, born, dropped + len(tasks) - len(fresh), trained)
        self._run.write_generation(self.latest)
        self._prune_weights()
        self._tell_warnings()
        self._progress.generation_finished(self.latest, self.usual_refusal())

    def _train(self, pool: Pool, number: int, tasks: list[Task], fresh: set[str]) -> None:
        """Fill `_results` for all tasks, training those that are feasible, fresh and have not landed before."""
        self._turn_away(number, tasks)
        landed = [self._results[task.hash] for task in tasks if task.hash in self._results]
        pending = {task.hash: task for task in tasks if task.hash in fresh and self._is_open(task.hash)}
        self._progress.generation_started(number, len(tasks), len(pending))
        rivals = [self._values(one) for one in (*self._survivors(), *landed) if one.status is Status.OK]
        for task, evaluation, weights in pool.run(sorted(pending.values(), key=_longest_first)):
            self._clock.landed(evaluation)
            evaluation = replace(evaluation, generation=number)
            if evaluation.status is Status.OK:
                rivals.append(self._values(evaluation))
                if front_mask(np.array(rivals))[-1]:
                    # Before the evaluation, because once that is on disk nobody trains this proxy again.
                    self._run.save_weights(task.hash, weights)
            self._run.append_evaluation(task, evaluation)
            self._results[task.hash] = evaluation
            self._progress.evaluated(evaluation)

    def _turn_away(self, number: int, tasks: list[Task]) -> None:
        """Record what is infeasible: its costs are known and its quality nobody asks for."""
        for task in tasks:
            refusal = self._screen.refusal(task.genome)
            if refusal and task.hash not in self._results:
                cost = self._screen.cost(task.genome)
                evaluation = Evaluation(
                    hash=task.hash,
                    status=Status.INFEASIBLE,
                    objectives=cost.columns() if cost else {},
                    generation=number,
                    error=refusal,
                )
                self._run.append_evaluation(task, evaluation)
                self._results[task.hash] = evaluation

    def _is_open(self, hash: str) -> bool:
        """Whether a genome still has to be trained. A dead worker may have been killed for no fault of its own."""
        return hash not in self._results or self._results[hash].status is Status.CRASHED

    def _select(self, number: int, born: list[Individual], duplicates: int, trained: int) -> Generation:
        survivors = self._search.tell(born)
        values = objective_matrix(survivors)
        if self._reference is None:
            self._reference = reference_box(values)
        failures = Counter(str(self._results[hash].status) for hash in self._asked)
        return Generation(
            number=number,
            individuals=survivors,
            rng_state=self._search.snapshot(),
            next_id=self._search.next_id,
            evaluations=trained + (self.latest.evaluations if self.latest else 0),
            duplicates_avoided=duplicates + (self.latest.duplicates_avoided if self.latest else 0),
            repaired=self._search.repaired,
            failures={name: failures[name] for name in sorted(failures) if name not in NO_FAILURES},
            hypervolume=hypervolume(values, self._reference),
            reference=self._reference,
            turned_away=self._search.turned_away,
        )

    def _individual(self, proposal: Proposal, task: Task, number: int) -> Individual:
        evaluation = self._results[task.hash]
        is_ok = evaluation.status is Status.OK
        return Individual(
            id=proposal.id,
            genome=proposal.genome,
            hash=task.hash,
            generation=number,
            parents=proposal.parents,
            status=evaluation.status,
            objectives=dict(zip(self._columns, self._values(evaluation), strict=True)) if is_ok else {},
            rank=0,
            crowding=0.0,
        )

    def _make_search(self) -> Search:
        config, latest = self._config, self.latest
        sizes = (config.population, config.offspring, space_of(config), len(self._columns), config.seed)
        if latest is None:
            return Search(*sizes, self._screen, tuple(map(parse, config.seed_genomes)))
        return Search.restore(*sizes, latest, self._screen)

    def _without_weights(self) -> list[Task]:
        """Tasks for the members of the front whose weights are not on disk."""
        missing = [one for one in self._front() if self._run.load_weights(one.hash) is None]
        return [_make_task(one.genome, self._config.seed) for one in missing]

    def _prune_weights(self) -> None:
        self._run.prune_weights({one.hash for one in self._front()})

    def _front(self) -> tuple[Individual, ...]:
        return self.latest.front if self.latest else ()

    def _survivors(self) -> tuple[Individual, ...]:
        return self.latest.individuals if self.latest else ()

    def _values(self, one: Individual | Evaluation) -> list[float]:
        return [one.objectives[name] for name in self._columns]

    def _is_last(self) -> bool:
        return self.latest is not None and self.latest.number >= self._config.generations

    def _tell_warnings(self) -> None:
        for sentence in self._run.warnings[self._warned :]:
            self._progress.noted(sentence)
        self._warned = len(self._run.warnings)


def _make_task(genome: Genome, run_seed: int) -> Task:
    genome = canonical(genome)
    hash = genome_hash(genome)
    return Task(genome=genome, hash=hash, seed=derive_seed(run_seed, hash))


def _longest_first(task: Task) -> tuple[float, str]:
    """Orders tasks so that no worker begins a long proxy when the others have nothing left."""
    livs = [slot.liv for slot in decode(task.genome)]
    return -sum(rules_of(liv).relative_time * (1 + liv.differential) for liv in livs), task.hash
