"""The loop itself: ask, train, tell, record, generation after generation."""

from collections import Counter
from collections.abc import Collection, Sequence

from star.architecture.genome import parse
from star.errors import UserError
from star.records import Generation, Individual, Status, Task
from star.run.plan import RunPlan
from star.run.progress import Progress
from star.run.proxies import Proxies
from star.run.summary import Clock, Summary
from star.search.front import front_mask, hypervolume, objective_matrix, reference_box
from star.search.plan import Proposal
from star.search.search import Search
from star.storage.run_directory import RunDirectory
from star.workers.pool import Pool

NO_FAILURES = (Status.OK, Status.INFEASIBLE, Status.STOPPED)


class Evolution:
    """A search in progress, standing at the end of its latest recorded generation.

    What comes out depends neither on the order in which proxies end, nor on the worker that trained them, nor
    on interruptions: seeds follow from genomes, and what has landed of an unfinished generation is no more than
    a store of results for it.
    """

    proxies: type[Proxies] = Proxies

    def __init__(self, plan: RunPlan, run: RunDirectory, clock: Clock, progress: Progress) -> None:
        self._plan = plan
        self._settings = plan.settings
        self._run = run
        self._progress = progress
        recorded = run.generations()  # all of them, so that a torn one is told of
        _refuse_other_objectives(set(plan.columns), recorded)
        self.latest = self._find_latest(recorded)
        self._proxies = self.proxies(plan, run, clock, progress)
        self._search = self._make_search()
        self._avoided = self.latest.duplicates_avoided if self.latest else 0
        self._refusals: Counter[str] = Counter()  # of this process: for people, no part of the result
        number = self.latest.number if self.latest else -1
        self._asked = {hash for hash, one in self._proxies.results.items() if one.generation <= number}
        self._tidy()
        self._tell_warnings()

    def is_finished(self) -> bool:
        """Whether the last generation and the weights of its front are on disk."""
        return self._is_last() and not self._without_weights()

    def summarise(self, clock: Clock) -> Summary:
        """What the run has come to."""
        known = self._proxies.results.values()
        return clock.summarise(str(self._run.path), self._plan, self.latest, known, self._usual_refusal())

    def _usual_refusal(self) -> str:
        """Why most of the candidates were turned away that this process met; empty if none were."""
        return self._refusals.most_common(1)[0][0] if self._refusals else ""

    def finish(self, pool: Pool) -> Generation:
        """Go on to the last generation."""
        while not self._is_last():
            self._advance(pool)
        # One that crowding once pushed out of a full front, with its weights, can have come back to it.
        self._proxies.train_again(pool, [one.genome for one in self._without_weights()])
        return self.latest

    def _advance(self, pool: Pool) -> None:
        number = self.latest.number + 1 if self.latest else 0
        proposals = self._ask(self._settings.offspring if number else self._settings.population)
        tasks = [self._proxies.task(proposal.genome) for proposal in proposals]
        fresh = {task.hash for task in tasks} - self._asked
        elders = {one.id: one for one in (*self._survivors(), *self._front())}
        for proposal, task in zip(proposals, tasks, strict=True):
            self._proxies.descend(task, [elders[id] for id in proposal.parents])
        self._proxies.train(pool, number, tasks, fresh, list(elders.values()))
        self._avoided += len(tasks) - len(fresh)
        self._asked |= fresh
        born = [self._individual(*pair, number) for pair in zip(proposals, tasks, strict=True)]
        self._close(number, self._search.tell(born), born, fresh)

    def _ask(self, wanted: int) -> list[Proposal]:
        before = self._search.duplicates_avoided
        proposals, rejected = self._search.ask_verbosely(wanted)
        self._avoided += self._search.duplicates_avoided - before
        for genome in rejected:
            self._refusals.update(self._proxies.screen.reasons(genome))
        return proposals

    def _close(
        self, number: int, survivors: tuple[Individual, ...], born: Sequence[Individual], fresh: Collection[str]
    ) -> None:
        """Record a generation; `fresh` are the hashes that nobody had asked for before."""
        front = self._new_front(born)
        ranked = {one.id: one for one in survivors}
        front = tuple(ranked.get(one.id, one) for one in front)
        reference = (self.latest.reference if self.latest else None) or reference_box(objective_matrix(survivors))
        asked = [self._proxies.results[hash] for hash in fresh]
        failures = Counter(self.latest.failures if self.latest else {})
        failures.update(str(one.status) for one in asked if one.status not in NO_FAILURES)
        trained = [one for one in asked if one.status is not Status.INFEASIBLE]
        before = (self.latest.evaluations, self.latest.tokens) if self.latest else (0, 0)
        self.latest = Generation(
            number=number,
            individuals=survivors,
            front=front,
            rng_state=self._search.snapshot(),
            next_id=self._search.next_id,
            evaluations=before[0] + len(trained),
            duplicates_avoided=self._avoided,
            repaired=self._search.repaired,
            failures={name: failures[name] for name in sorted(failures)},
            hypervolume=hypervolume(objective_matrix(front), reference),
            reference=reference,
            turned_away=self._search.rejected_infeasible,
            tokens=before[1] + sum(one.tokens for one in trained),
        )
        self._keep(self.latest)

    def _keep(self, generation: Generation) -> None:
        """Write a generation down and tell of it."""
        self._run.write_generation(generation, self._proxies.unsettled())
        self._prune_weights()
        self._tell_warnings()
        self._progress.generation_finished(generation, self._usual_refusal())

    def _new_front(self, born: Sequence[Individual]) -> list[Individual]:
        """Of the front so far and of those just trained to the end, what no other of them dominates."""
        sound = {one.hash: one for one in reversed(born) if one.status is Status.OK}
        rivals = list((sound | {one.hash: one for one in self._front()}).values())  # each architecture once
        if not rivals:
            return []
        mask = front_mask(objective_matrix(rivals))
        return sorted((one for one, is_best in zip(rivals, mask, strict=True) if is_best), key=lambda one: one.id)

    def _individual(self, proposal: Proposal, task: Task, number: int) -> Individual:
        return Individual(
            id=proposal.id,
            genome=proposal.genome,
            hash=task.hash,
            generation=number,
            parents=proposal.parents,
            status=self._proxies.results[task.hash].status,
            objectives=self._proxies.objectives(task.hash),
            rank=0,
            crowding=0.0,
            shortfall=self._proxies.shortfall(task.hash),
        )

    def _find_latest(self, recorded: Sequence[Generation]) -> Generation | None:
        """The generation to go on from."""
        return recorded[-1] if recorded else None

    def _make_search(self) -> Search:
        plan, screen = self._plan.search, self._proxies.screen
        if self.latest is None:
            return Search(plan, screen, tuple(map(parse, self._settings.seed_genomes)))
        return Search.restore(plan, self.latest, screen)

    def _without_weights(self) -> list[Individual]:
        """Members of the front whose weights are not on disk."""
        return [one for one in self._front() if self._run.load_weights(one.hash) is None]

    def _tidy(self) -> None:
        """Do what a process left undone that was killed just after it had written a generation."""
        if self._is_last():
            self._run.compact_evaluations(self.latest.number, self._proxies.unsettled())
        if self._is_last() or self.latest and self._settings.warm_weights:  # or who has heirs would depend on it
            self._prune_weights()

    def _prune_weights(self) -> None:
        """Delete all weights that are not needed any more."""
        self._run.prune_weights(self._kept_weights())

    def _kept_weights(self) -> set[str]:
        """The front; with warm weights also the population, which may yet have children, and what has landed of the
        next generation."""
        keep = {one.hash for one in self._front()}
        if self._settings.warm_weights and self.latest:
            keep |= {one.hash for one in self._survivors()}
            keep |= {hash for hash, one in self._proxies.results.items() if one.generation > self.latest.number}
        return keep

    def _front(self) -> tuple[Individual, ...]:
        return self.latest.front if self.latest else ()

    def _survivors(self) -> tuple[Individual, ...]:
        return self.latest.individuals if self.latest else ()

    def _is_last(self) -> bool:
        return self.latest is not None and self.latest.number >= self._settings.generations

    def _tell_warnings(self) -> None:
        for sentence in self._run.new_warnings():
            self._progress.noted(sentence)


def _refuse_other_objectives(columns: set[str], recorded: Sequence[Generation]) -> None:
    """Raise UserError if a run older than the record of its settings minimised other objectives."""
    for one in (one for generation in recorded for one in generation.front):
        if one.objectives.keys() != columns:
            raise UserError(
                f"the settings have the objectives {', '.join(sorted(columns))}, but the run was made with "
                f"{', '.join(sorted(one.objectives))}: set them back, or begin a new run"
            )
