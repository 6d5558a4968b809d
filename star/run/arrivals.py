"""Proxies that are told to the search one by one, as they land; in which order is part of what is recorded of them."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import itemgetter

import numpy as np

from star.evaluation.objectives import QUALITY
from star.records import Evaluation, Individual, Result, Status, Task
from star.run.plan import RunPlan
from star.run.progress import Progress
from star.run.proxies import Proxies
from star.run.summary import Clock
from star.search.racing import promoted
from star.storage.run_directory import RunDirectory
from star.workers.pool import Pool

LEAST = 10  # at a rung before anyone is stopped there: the race asks for a tenth of all ranks between two
WINDOW = 256  # candidates, those asked for last, among which one at a rung is judged


class Arrivals(Proxies):
    """Results with their places in the order in which the search was told of them.

    What is recorded with an `arrival` is told: after training, or as soon as it was asked for if its result was known
    then. At a rung one is judged at once, among those that have reached it: so the judgement is recorded with the
    result, as an arrival if it stops there, and without one if it goes on.
    """

    def __init__(self, plan: RunPlan, run: RunDirectory, clock: Clock, progress: Progress) -> None:
        super().__init__(plan, run, clock, progress)
        self.asks = 0  # proposals that the search was asked for, those included that it could not give
        self.arrivals = 0  # results that it was told
        self._entries = max((one.entry for one in self.results.values()), default=0)  # results and parts recorded
        self._asked_as: dict[str, int] = {}  # number of the ask that gave it, by hash
        self._reached: list[list[tuple[int, list[float]]]] = [[] for _ in self._stops]  # each in order of these numbers

    def recorded(self) -> list[Evaluation]:
        """What is recorded as told, in that order, up to the first gap."""
        told = sorted((one for one in self.results.values() if one.arrival), key=lambda one: one.arrival)
        return [one for number, one in enumerate(told, 1) if one.arrival == number]

    def forget_others(self) -> int:
        """Make of what is recorded as told, but was not, results at hand for when somebody asks; gives their number."""
        others = sum(one.arrival > self.arrivals for one in self.results.values())
        if others:
            self._run.clear_arrivals(self.arrivals + 1)
            self.results = self._run.evaluations()
        return others

    def unsettled(self) -> set[str]:
        """The hashes of which more is to be recorded: that they were told, at least."""
        return {hash for hash, one in self.results.items() if not one.arrival}

    def asks_on_record(self) -> int:
        """How often the search had been asked when the latest result, or part of one, was recorded."""
        return max((one.asked for one in self.results.values()), default=0)

    def enter(self, task: Task, parents: Sequence[Individual]) -> None:
        """The latest ask has given this, which descends from `parents`."""
        self._asked_as.setdefault(task.hash, self.asks)
        self.descend(task, parents)
        if task.hash in self.results:
            self._reach(self.results[task.hash])

    def open(self, front: Sequence[Individual]) -> None:
        """These are the best so far: of what lands from now on, weights are kept where none of them is better."""
        self._front = [self.values(one) for one in front]

    def turn(self, task: Task) -> tuple[int, int]:
        """Orders tasks under way as they were submitted: one that paused when that was recorded, which was after all
        that had been asked for by then."""
        known = self.results.get(task.hash)
        return (self._asked_as[task.hash], 0) if known is None else (known.asked, known.entry)

    def parents_of(self, hashes: Iterable[str]) -> set[str]:
        """The hashes of all of which these descend."""
        return {parent.hash for hash in hashes for parent in self._parents[hash]}

    def settle(self, task: Task, number: int) -> bool:
        """Whether there is nothing to train, or no more; the result is recorded then, and the search to be told."""
        known = self.results.get(task.hash)
        if known is None:
            self._turn_away(number, [task])
        elif not known.arrival and known.status is not Status.STOPPED:
            self._record(task, replace(known, generation=number))
        while not self._is_told(task) and (found := self._reuse.find(task, self._next_rung(task))):
            self._land_known(Result(task=task, evaluation=found), number)
        return self._is_told(task)

    def submit(self, pool: Pool, task: Task) -> None:
        """Train a task from where it stands, up to the next rung or the end."""
        pool.submit(self._job(task, self._next_rung(task)))

    def land(self, result: Result, number: int) -> None:
        """Record what a worker gave."""
        self._land(result, number, self._next_rung(result.task))

    def _is_told(self, task: Task) -> bool:
        return task.hash in self.results and self.results[task.hash].arrival > 0

    def _next_rung(self, task: Task) -> int | None:
        passed = len(self.results[task.hash].rungs) if task.hash in self.results else 0
        return passed if passed < len(self._stops) else None

    def _record(self, task: Task, evaluation: Evaluation) -> None:
        self._reach(evaluation)
        self._entries += 1
        evaluation = replace(evaluation, arrival=0, asked=self.asks, entry=self._entries)
        if evaluation.status is not Status.STOPPED or not self._goes_on(evaluation):
            self.arrivals += 1
            evaluation = replace(evaluation, arrival=self.arrivals)
        super()._record(task, evaluation)
        if evaluation.arrival and evaluation.status is Status.STOPPED:
            self._progress.evaluated(evaluation)

    def _reach(self, evaluation: Evaluation) -> None:
        """Note which rungs a proxy has reached."""
        number = self._asked_as[evaluation.hash]
        for rung in range(len(evaluation.rungs)):
            reached = self._reached[rung]
            place = bisect_left(reached, number, key=itemgetter(0))
            if place == len(reached) or reached[place][0] != number:
                reached.insert(place, (number, self.values(evaluation, rung)))

    def _goes_on(self, evaluation: Evaluation) -> bool:
        """Whether a proxy goes on beyond the rung that it has reached. Sets of candidates decide, not the order in
        which they reached it, so that a race that was interrupted goes the same way."""
        reached, number = self._reached[len(evaluation.rungs) - 1], self._asked_as[evaluation.hash]
        if len(reached) < LEAST:
            return True
        own = reached[bisect_left(reached, number, key=itemgetter(0))]
        judged = [own, *(one for one in reached[-WINDOW:] if one is not own)]
        values = np.array([values for _, values in judged])
        return bool(promoted(values, values[:0], self.columns.index(QUALITY), self._plan.race.eta)[0])
