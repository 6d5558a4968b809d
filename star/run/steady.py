"""The loop without generations: every result is told to the search as it lands, and another genome is asked for."""

from collections import deque
from collections.abc import Sequence

from star.records import Generation, Individual, Result, Status, Task
from star.run.arrivals import Arrivals
from star.run.evolution import Evolution
from star.run.plan import RunPlan
from star.run.progress import Progress
from star.run.summary import Clock
from star.search.plan import Proposal
from star.storage.run_directory import RunDirectory
from star.workers.pool import Pool


class Steady(Evolution):
    """A search in which no worker waits for another, standing where its record ends.

    As many proxies are under way as there are workers, and one more. A generation is recorded whenever as many results
    were told as one has; it is a view for people, nothing goes on from it. What the search does follows from the order
    in which it was told of results and from how often it was asked before each: both are recorded with the results, so
    that going on is doing the same again without training, and then what was under way.
    """

    _proxies: Arrivals
    proxies = Arrivals

    def __init__(self, plan: RunPlan, run: RunDirectory, clock: Clock, progress: Progress) -> None:
        self._recorded: dict[int, Generation] = {}
        self._open: dict[str, tuple[Proposal, Task]] = {}  # asked for and not told, by hash
        self._alive: dict[int, Individual] = {}  # the population, by id
        self._born: list[Individual] = []  # told since the latest generation
        self._fresh: set[str] = set()  # of these, what nobody had asked for before
        self._settled = 0  # asks that are done with
        self._is_live = False
        super().__init__(plan, run, clock, progress)
        self._replay()
        under_way = (task for _, task in self._open.values())
        self._waiting = deque(sorted(under_way, key=self._proxies.turn))  # to be trained before anything else
        self._is_live = True
        self._tidy()

    def _find_latest(self, recorded: Sequence[Generation]) -> None:
        self._recorded = {one.number: one for one in recorded}

    def _replay(self) -> None:
        """Ask and tell as recorded, as far as that leads."""
        for one in self._proxies.recorded():
            while self._proxies.asks < one.asked:
                self._propose()
            if one.hash not in self._open:
                break
            self._proxies.arrivals += 1
            self._tell(one.hash)
        if others := self._proxies.forget_others():
            self._progress.noted(
                f"the record of arrivals breaks off after {self._proxies.arrivals}: {others} later results are used "
                "where the search asks for them again"
            )
        on_record = self._proxies.asks_on_record()
        while self._proxies.asks < on_record:
            self._propose()
        if max(self._recorded, default=-1) >= self._number():
            self._run.set_aside_generations(self._number())
        self._tell_warnings()

    def _advance(self, pool: Pool) -> None:
        """Go on until one more generation is full."""
        number = self._number()
        self._progress.generation_started(number, self._size(), self._due() - self._settled)
        self._proxies.open([one for one in (*self._front(), *self._born) if one.status is Status.OK])
        self._feed(pool)
        while self._number() == number:
            self._take(pool.take(), pool)
            self._feed(pool)

    def _take(self, result: Result, pool: Pool) -> None:
        number = self._number()
        self._proxies.land(result, number)
        if self._proxies.settle(result.task, number):
            self._tell(result.task.hash)
        else:
            self._proxies.submit(pool, result.task)

    def _feed(self, pool: Pool) -> None:
        """Keep one job more in the pool than it has workers, so that none waits while a result is looked at."""
        while pool.pending <= pool.num_workers and (task := self._next()):
            self._proxies.submit(pool, task)

    def _next(self) -> Task | None:
        """What is to be trained next; None if nothing is left to ask for. Tells what needs no training."""
        while self._waiting or self._proxies.asks < self._budget():
            task = self._waiting.popleft() if self._waiting else self._propose()
            if task and not self._proxies.settle(task, self._number()):
                return task
            if task:
                self._tell(task.hash)
        return None

    def _propose(self) -> Task | None:
        """Ask for one genome; None if there is none any more, or if it was told before and now is again."""
        self._proxies.asks += 1
        proposals = self._ask(1)
        if not proposals:
            self._settle()
            return None
        task = self._proxies.task(proposals[0].genome)
        self._open[task.hash] = proposals[0], task
        self._proxies.enter(task, [self._alive[id] for id in proposals[0].parents])
        if task.hash not in self._asked:
            return task
        self._avoided += 1
        self._tell(task.hash)
        return None

    def _tell(self, hash: str) -> None:
        born = self._individual(*self._open.pop(hash), self._number())
        self._fresh |= {hash} - self._asked
        self._asked.add(hash)
        self._born.append(born)
        self._alive = {one.id: one for one in self._search.tell([born])}
        self._settle()

    def _settle(self) -> None:
        """One ask is done with; if a generation is full now, record it."""
        self._settled += 1
        if self._settled == self._due():
            born, fresh = self._born, self._fresh
            self._born, self._fresh = [], set()
            self._close(self._number(), self._search.tell([]), born, fresh)

    def _keep(self, generation: Generation) -> None:
        if self._is_live:
            super()._keep(generation)
            self._run.prune_states(set(self._open))
            return
        then = self._recorded.get(generation.number)
        if then is None:
            self._run.write_generation(generation, self._proxies.unsettled())
            self._progress.generation_finished(generation, self._usual_refusal())
        elif then != generation:
            self._run.write_generation(generation, self._proxies.unsettled())
            self._progress.noted(
                f"generation {generation.number} follows otherwise from its evaluations than it was recorded, and is "
                f"recorded anew; with the old record, star replay {self._run.path} would tell the first difference"
            )

    def _kept_weights(self) -> set[str]:
        # Those told since the latest view were under way when it was written: their parents were kept then.
        parents = self._proxies.parents_of([*self._open, *(one.hash for one in self._born)])
        return super()._kept_weights() | (parents if self._settings.warm_weights else set())

    def _number(self) -> int:
        """Of the generation that the next one told belongs to."""
        return self.latest.number + 1 if self.latest else 0

    def _size(self) -> int:
        return self._settings.offspring if self._number() else self._settings.population

    def _due(self) -> int:
        """Asks that are done with when that generation is full."""
        return self._settings.population + self._number() * self._settings.offspring

    def _budget(self) -> int:
        return self._settings.population + self._settings.generations * self._settings.offspring
