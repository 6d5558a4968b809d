"""The schedule by generations: ask for all of one, train it, tell the search, and again."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from star.architecture.genome import decode
from star.architecture.structures import rules_of
from star.cost.latency import LatencyTable
from star.evaluation.objectives import QUALITY
from star.records import RANKED, Evaluation, Generation, Order, Recorded, Status, Task
from star.run.core import NONE_YET, Core
from star.run.estimates import Longer
from star.run.plan import RunPlan
from star.run.steps import Begun, Known, Measure, Step, Stopped, Train, Wait
from star.search.racing import best_share, promoted


class Generational:
    """A schedule that goes on from the latest recorded generation.

    What comes out depends neither on the order in which proxies end, nor on the worker that trained them, nor
    on interruptions: seeds follow from genomes, and what has landed of an unfinished generation is no more than
    a store of results for it.
    """

    def __init__(
        self,
        plan: RunPlan,
        rows: Mapping[str, Recorded],
        latest: Generation = NONE_YET,
        longer: Longer = MappingProxyType({}),
        latencies: LatencyTable | None = None,
    ) -> None:
        self.core = Core(plan, rows, latest, longer, latencies)
        self._under_way: set[str] = set()
        self._steps = self._run()

    def next(self, has_room: bool) -> Step | None:
        """Return the next step of the open generation."""
        return next(self._steps, None) if has_room else Wait()

    def report(self, task: Task, evaluation: Evaluation, tokens: int = 0) -> Recorded:
        """Return the row to record of a proxy, or of a longer training on so many tokens."""
        row = Recorded(task, evaluation, Order(generation=self.core.number))
        self._under_way.discard(task.hash)
        if tokens:
            self.core.longer[task.hash, tokens] = row
        else:
            self.core.know(row)
        return row

    def incomplete(self) -> set[str]:
        """Return the hashes of proxies whose training is paused."""
        return set()

    def with_states(self) -> set[str]:
        """Return the hashes of the front, if its trainings can go on."""
        return {one.hash for one in self.core.latest.front} if self.core.plan.estimation else set()

    def with_weights(self) -> set[str]:
        """Return the hashes of the front; with warm weights also of the population and of what has landed."""
        return self.core.with_weights()

    def _run(self) -> Iterator[Step]:
        core = self.core
        while not core.is_finished:
            asked = core.ask(core.size)
            tasks = [task for _, task in asked]
            for task in tasks:
                if task.hash not in core.known and (infeasible := core.reject(task)):
                    yield Known(task, infeasible)
            runners = [task for task in tasks if not core.was_told(task.hash) and self._can_run(task.hash)]
            if core.plan.minimises_latency:  # while nothing is trained
                yield Measure([task.genome for task in runners])
            for task, screened in core.screen_out(runners):
                if task.hash not in core.known:
                    yield Known(task, screened)
            runners = [task for task in runners if not self._is_screened(task.hash)]
            yield Begun(core.number, len(tasks), sum(self._is_open(task.hash, None) for task in runners))
            is_fitted = core.scores.are_estimates
            if is_fitted:  # the front is trained longer beside the new proxies
                yield from self._train_longer(())
            yield from self._race(runners)
            if not is_fitted:  # the first fit takes what is new as well
                yield from self._train_longer(tasks)
                yield from self._wait()
            core.renew_estimates()
            core.tell(asked)
            yield core.close()

    def _race(self, runners: Sequence[Task]) -> Iterator[Step]:
        """Train up to each rung those that are promoted at the rung before, among them and the population and the
        front. A race is a function of what is recorded: resumed, it goes the same way."""
        members = {one.id: one.hash for one in (*self.core.latest.individuals, *self.core.latest.front)}
        known = [self.core.known[hash].evaluation for hash in members.values() if hash in self.core.known]
        rivals = [one for one in known if one.status in RANKED]
        for rung in range(len(self.core.plan.race.steps)):
            yield from self._train(runners, rung)
            passed = [self.core.known[task.hash] for task in runners]
            passed = [row for row in passed if len(row.evaluation.rungs) > rung]
            own = np.array([self.core.scores.values(row.evaluation, rung) for row in passed])
            others = np.array([self.core.scores.values(one, rung) for one in rivals if len(one.rungs) > rung])
            eta = self.core.plan.race.eta
            if self.core.scores.are_estimates and len(own):
                stays = best_share(own, others, eta)
            else:
                stays = promoted(own, others, self.core.plan.columns.index(QUALITY), eta)
            yield from (Stopped(row.evaluation) for row, goes_on in zip(passed, stays, strict=True) if not goes_on)
            runners = [row.task for row, goes_on in zip(passed, stays, strict=True) if goes_on]
        yield from self._train(runners, None)

    def _train(self, tasks: Sequence[Task], until: int | None) -> Iterator[Step]:
        for task in sorted((task for task in tasks if self._is_open(task.hash, until)), key=longest_first):
            self._under_way.add(task.hash)
            yield Train(task, until, self.core.parents[task.hash])
        yield from self._wait()

    def _train_longer(self, tasks: Sequence[Task]) -> Iterator[Step]:
        """Begin longer trainings of some of the front and of these proxies, if qualities are estimated."""
        for task, tokens in self.core.choose_longer(tasks):
            self._under_way.add(task.hash)
            yield Train(task, None, (), tokens)

    def _wait(self) -> Iterator[Step]:
        """Wait until all trainings have ended."""
        while self._under_way:
            yield Wait()

    def _is_screened(self, hash: str) -> bool:
        known = self.core.known.get(hash)
        return known is not None and known.evaluation.status is Status.SCREENED

    def _can_run(self, hash: str) -> bool:
        """Return whether there is a quality to know of a genome, at a rung at least."""
        known = self.core.known.get(hash)
        return known is None or known.evaluation.status in RANKED or bool(known.evaluation.rungs)

    def _is_open(self, hash: str, until: int | None) -> bool:
        """Return whether a genome has yet to be trained up to a rung, or to the end."""
        if hash not in self.core.known:
            return True
        evaluation = self.core.known[hash].evaluation
        return evaluation.status is Status.STOPPED and (until is None or len(evaluation.rungs) <= until)


def longest_first(task: Task) -> tuple[float, str]:
    """Order tasks so that no worker begins a long proxy when the others have nothing left."""
    livs = [slot.liv for slot in decode(task.genome)]
    return -sum(rules_of(liv).relative_time * (1 + liv.differential) for liv in livs), task.hash
