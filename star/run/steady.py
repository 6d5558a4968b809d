"""The schedule without generations: every result is told to the search as it lands, and another genome is asked for."""

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from star.architecture.genome import DECKS, GENES
from star.cost.latency import LatencyTable
from star.evaluation.objectives import QUALITY
from star.records import Evaluation, Generation, Order, Recorded, Status, Task
from star.run.core import NONE_YET, Core
from star.run.plan import RunPlan
from star.run.steps import Begun, Known, Measure, Step, Stopped, Train, Wait
from star.search.plan import Proposal
from star.search.racing import promoted
from star.storage.tables import clear_arrivals

LEAST = 10  # at a rung before anyone is stopped there: the race asks for a tenth of all ranks between two
WINDOW = 256  # candidates, those asked for last, among which one at a rung is judged


class OpenAsk(NamedTuple):
    """A proposal that was asked for and not told yet, and as which it was asked for, counted from 1."""

    proposal: Proposal
    task: Task
    number: int


class Steady:
    """A schedule that goes on from where the rows of its record end.

    A generation is closed whenever as many results were told as one has; it is a view for people, nothing goes on from
    it. What the search does follows from the order in which it was told of results and from how often it was asked
    before each: both are recorded with the results, so that going on is asking and telling the same again without
    training, and then training what was under way.
    """

    def __init__(self, plan: RunPlan, rows: Mapping[str, Recorded], latencies: LatencyTable | None = None) -> None:
        self.core = Core(plan, rows, NONE_YET, latencies=latencies)
        self.arrivals = 0  # results that the search was told
        self._entries = max((one.order.entry for one in rows.values()), default=0)  # results and parts recorded
        self._asks = 0  # proposals that the search was asked for, those included that it could not give
        self._closed_asks = 0
        self._open: dict[str, OpenAsk] = {}  # by hash
        self._rungs: list[list[tuple[int, list[float]]]] = [[] for _ in plan.race.steps]  # see _reach
        self._steps: deque[Step] = deque()  # that follow from what was reported
        self._is_deck_measured = not plan.minimises_latency
        self._announced = -1  # number of the generation that people were told of last
        self.unreached = self._replay(sorted(rows.values(), key=lambda one: one.order.arrival))
        self.views = [one for one in self._steps if isinstance(one, Generation)]  # that follow from what is recorded
        self._steps.clear()
        self._waiting = deque(sorted((one.task for one in self._open.values()), key=self._turn))

    def next(self, has_room: bool) -> Step | None:
        """Return the next step."""
        if self._steps:
            return self._steps.popleft()
        if self.core.is_finished:
            return None
        if not self._is_deck_measured:  # while nothing is trained
            self._is_deck_measured = True
            return self._measure_deck()
        if self._announced < self.core.number:
            self._announced = self.core.number
            return Begun(self.core.number, self.core.size, self._asks_until(self.core.number) - self._closed_asks)
        budget = self._asks_until(self.core.plan.settings.generations)
        while has_room and (self._waiting or self._asks < budget):
            task = self._waiting.popleft() if self._waiting else self._propose()
            if task is not None:
                return self._begin(task)
            if self._steps:
                return self._steps.popleft()
        return Wait()

    def report(self, task: Task, evaluation: Evaluation, tokens: int = 0) -> Recorded:
        """Return the row to record of a proxy. A proxy at a rung is compared at once with those that have reached it,
        so the row holds the decision: an arrival if the proxy stops there, none if it is promoted.
        """
        assert not tokens, "qualities are estimated by generations alone"
        ask = self._open[task.hash]
        self._reach(ask, evaluation)
        self._entries += 1
        order = Order(generation=self.core.number, asked=self._asks, entry=self._entries)
        is_stopped = evaluation.status is Status.STOPPED
        if is_stopped and self._is_promoted(ask, evaluation):
            row = Recorded(task, evaluation, order)
            self.core.know(row)
            self._waiting.append(task)
            return row
        row = Recorded(task, evaluation, replace(order, arrival=self.arrivals + 1))
        self.core.know(row)
        if is_stopped:
            self._steps.append(Stopped(evaluation))
        self._tell(ask)
        return row

    def incomplete(self) -> set[str]:
        """Return the hashes of proxies of which the search was not told yet."""
        return {hash for hash, one in self.core.known.items() if not one.order.arrival}

    def with_states(self) -> set[str]:
        """Return the hashes of proxies of which the search was not told yet."""
        return self.incomplete()

    def with_weights(self) -> set[str]:
        """Return the hashes of the front; with warm weights also of the parents of proxies in flight, now or when the
        latest generation was written.
        """
        keep = self.core.with_weights()
        if self.core.plan.settings.warm_weights:
            children = [*self._open, *(one.hash for one in self.core.told_since)]
            keep |= {parent.hash for child in children for parent in self.core.parents[child]}
        return keep

    def _replay(self, in_order: list[Recorded]) -> int:
        """Ask and tell as recorded, as far as that leads. Return how many later results are recorded as told: they are
        used where the search asks for them again."""
        for row in in_order:
            if row.order.arrival != self.arrivals + 1:
                continue
            while self._asks < row.order.asked:
                self._propose()
            if row.task.hash not in self._open:
                break
            self._tell(self._open[row.task.hash])
        unreached = sum(one.order.arrival > self.arrivals for one in in_order)
        if unreached:
            left = clear_arrivals(list(self.core.known.values()), self.arrivals + 1)
            self.core.known = {one.task.hash: one for one in left}
        on_record = max((one.order.asked for one in self.core.known.values()), default=0)
        while self._asks < on_record:
            self._propose()
        return unreached

    def _begin(self, task: Task) -> Step:
        """Return what is to be done for a task from where it stands."""
        known = self.core.known.get(task.hash)
        if known is None:
            if infeasible := self.core.reject(task):
                return Known(task, infeasible)
        elif known.evaluation.status is not Status.STOPPED:  # at hand since the order broke off
            return Known(task, known.evaluation)
        if self.core.plan.minimises_latency and self.core.latencies.missing([task.genome]):
            self._waiting.appendleft(task)  # an operator of no deck
            return Measure([task.genome])
        passed = len(known.evaluation.rungs) if known else 0
        return Train(task, passed if passed < len(self._rungs) else None, self.core.parents[task.hash])

    def _measure_deck(self) -> Step:
        """Return the step that measures the operators of the deck, in every way in which slots share their features."""
        classes, sharing = DECKS[self.core.plan.settings.deck], range(1, GENES[-1].high + 1)
        pairs = [(number, 1, 1, 1, strategy) * 2 for number in classes for strategy in sharing]
        return Measure([pair for pair in pairs if self.core.screen.cost(pair)])

    def _propose(self) -> Task | None:
        """Ask for one genome. Return None if there is none any more, or if it was told before and now is again."""
        self._asks += 1
        asked = self.core.ask(1)
        if not asked:
            self._close_ask()
            return None
        ask = OpenAsk(*asked[0], self._asks)
        hash = ask.task.hash
        self._open[hash] = ask
        if self.core.was_told(hash):
            self._tell(ask)
            return None
        if hash in self.core.known:
            self._reach(ask, self.core.known[hash].evaluation)
        return ask.task

    def _tell(self, ask: OpenAsk) -> None:
        if not self.core.was_told(ask.task.hash):
            self.arrivals += 1
        del self._open[ask.task.hash]
        self.core.tell([(ask.proposal, ask.task)])
        self._close_ask()

    def _close_ask(self) -> None:
        """Count an ask that is done with, and close the generation if it is full now."""
        self._closed_asks += 1
        if self._closed_asks == self._asks_until(self.core.number):
            self._steps.append(self.core.close())

    def _asks_until(self, number: int) -> int:
        """Return how many asks are done with when a generation is full."""
        settings = self.core.plan.settings
        return settings.population + number * settings.offspring

    def _turn(self, task: Task) -> tuple[int, int]:
        """Order tasks under way as they were submitted: one that paused when that was recorded, which was after all
        that had been asked for by then."""
        known = self.core.known.get(task.hash)
        return (self._open[task.hash].number, 0) if known is None else (known.order.asked, known.order.entry)

    def _reach(self, ask: OpenAsk, evaluation: Evaluation) -> None:
        """Note the values of a proxy at each rung that it has reached, in order of the numbers of asks."""
        for rung in range(len(evaluation.rungs)):
            reached = self._rungs[rung]
            place = bisect_left(reached, ask.number, key=itemgetter(0))
            if place == len(reached) or reached[place][0] != ask.number:
                reached.insert(place, (ask.number, self.core.scores.values(evaluation, rung)))

    def _is_promoted(self, ask: OpenAsk, evaluation: Evaluation) -> bool:
        """Return whether a proxy goes on beyond the rung that it has reached. Sets of candidates decide, not the order
        in which they reached it, so that a race that was interrupted goes the same way."""
        reached = self._rungs[len(evaluation.rungs) - 1]
        if len(reached) < LEAST:
            return True
        own = reached[bisect_left(reached, ask.number, key=itemgetter(0))]
        judged = [own, *(one for one in reached[-WINDOW:] if one is not own)]
        values = np.array([values for _, values in judged])
        plan = self.core.plan
        return bool(promoted(values, values[:0], plan.columns.index(QUALITY), plan.race.eta)[0])
