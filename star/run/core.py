"""The state of a search and its generations. No files, no pool, no clock."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from star.architecture.genome import parse
from star.cost.latency import LatencyTable
from star.evaluation.objectives import QUALITY, Outcome
from star.records import RANKED, STORE, UNTRAINED, Evaluation, Generation, Genome, Individual, Recorded, Status, Task
from star.run.estimates import Longer
from star.run.plan import RunPlan
from star.run.scores import Scores
from star.search.front import front_mask, hypervolume, non_dominated, objective_matrix, reference_box
from star.search.plan import Proposal
from star.search.racing import best_share
from star.search.search import Search

LEAST_TRAINED = 2  # candidates of a generation, however strict screening is
NO_FAILURES = (*RANKED, Status.INFEASIBLE)

NONE_YET = Generation(
    number=-1,
    individuals=(),
    front=(),
    rng_state="",
    next_id=0,
    evaluations=0,
    duplicates_avoided=0,
    repaired=0,
    failures={},
    hypervolume=0.0,
)

Asked = tuple[Proposal, Task]


class Core:
    """A search that stands behind its generation `latest`, or at its beginning, and the rows recorded of its proxies.

    Args:
        plan: the run.
        rows: what is recorded, by hash. More may be known than the search has been told.
        latest: the generation to go on from; NONE_YET begins a search.
        longer: the longer trainings that are recorded, from which qualities are estimated.
        latencies: of the operators of its genomes; more may be added.
    """

    def __init__(
        self,
        plan: RunPlan,
        rows: Mapping[str, Recorded],
        latest: Generation,
        longer: Longer = MappingProxyType({}),
        latencies: LatencyTable | None = None,
    ) -> None:
        self.plan = plan
        self.screen = plan.screen()
        self.latencies = latencies or plan.latency_table()
        self.known = dict(rows)
        self.longer = dict(longer)
        self.scores = Scores(plan, self.known, self.longer, latest.number)
        self.latest = latest
        self.parents: dict[str, Sequence[Individual]] = {}  # of each proxy when it was asked for first, by hash
        self.told: list[Individual] = []  # by this process
        self._num_closed = 0  # of these, before the latest generation
        seeds = tuple(map(parse, plan.settings.seed_genomes))
        self._seeds = {plan.task(seed).hash for seed in seeds}
        self._search = (
            Search.restore(plan.search, latest, self.screen) if self.number else Search(plan.search, self.screen, seeds)
        )
        self._alive = {one.id: one for one in self.latest.individuals}
        self._told = {hash for hash, one in rows.items() if one.order.generation < self.number}
        self._fresh: set[str] = set()  # told since the latest generation for the first time
        self._avoided = self.latest.duplicates_avoided
        self._refusals: Counter[str] = Counter()  # of this process: for people, no part of the result
        self._best: list[list[float]] = []  # values of what has landed, where they are final
        if not self.scores.can_change:
            landed = [self.scores.values(one.evaluation) for one in rows.values() if one.evaluation.status is Status.OK]
            self._best = non_dominated(landed)

    @property
    def number(self) -> int:
        """Return the number of the generation that is open."""
        return self.latest.number + 1

    @property
    def size(self) -> int:
        """Return how many proposals the open generation has."""
        return self.plan.settings.offspring if self.number else self.plan.settings.population

    @property
    def is_finished(self) -> bool:
        """Return whether the last generation is closed."""
        return self.number > self.plan.settings.generations

    @property
    def usual_refusal(self) -> str:
        """Return why most of the candidates were infeasible that this process met; empty if none were."""
        return self._refusals.most_common(1)[0][0] if self._refusals else ""

    def ask(self, wanted: int) -> list[Asked]:
        """Return the next proposals with their tasks; fewer than wanted where the space holds no more."""
        before = self._search.duplicates_avoided
        proposals, rejected = self._search.propose(wanted)
        self._avoided += self._search.duplicates_avoided - before
        for genome in rejected:
            self._refusals.update(self.screen.reasons(genome))
        asked = [(proposal, self.plan.task(proposal.genome)) for proposal in proposals]
        for proposal, task in asked:
            self.parents.setdefault(task.hash, [self._alive[id] for id in proposal.parents])
        return asked

    def was_told(self, hash: str) -> bool:
        """Return whether the search was told of this architecture before."""
        return hash in self._told

    def reject(self, task: Task) -> Evaluation | None:
        """Return the evaluation of what is infeasible: its costs are known and its quality nobody asks for."""
        refusal = self.screen.refusal(task.genome)
        if not refusal:
            return None
        cost = self.screen.cost(task.genome)
        objectives = cost.columns() if cost else {}
        return Evaluation(hash=task.hash, status=Status.INFEASIBLE, objectives=objectives, error=refusal)

    def screen_out(self, tasks: Sequence[Task]) -> list[tuple[Task, Evaluation]]:
        """Return which of these are not trained at all, with their evaluations: all but seed genomes and the best share
        by the estimate that costs and operators give, beside the front. None are, where that cannot be estimated."""
        open_to = [task for task in tasks if task.hash not in self._seeds]
        if not self.scores.can_guess or not open_to:
            return []
        prices = [self.prices(task.genome) for task in open_to]
        own = [self.scores.guess(task.genome, price) for task, price in zip(open_to, prices, strict=True)]
        others = [self.scores.values(one) for one in self.latest.front]
        stays = best_share(np.array(own), np.array(others), self.plan.settings.screening, LEAST_TRAINED)
        return [
            (task, Evaluation(hash=task.hash, status=Status.SCREENED, objectives=price))
            for task, price, is_trained in zip(open_to, prices, stays, strict=True)
            if not is_trained
        ]

    def prices(self, genome: Genome) -> dict[str, float]:
        """Return what is known of a feasible genome without training: its costs, and its latencies if the run minimises
        such, all parts of which were measured."""
        cost = self.screen.cost(genome)
        assert cost, "a feasible genome"
        latency = self.latencies.total(genome) if self.plan.minimises_latency else None
        return Outcome(cost=cost, latency=latency).columns()

    def join(self, task: Task, part: Evaluation) -> Evaluation:
        """Return a result with its latencies and what is known of the parts of the training before it. One that failed
        has the rungs that it passed, at which others were judged beside it."""
        if self.plan.minimises_latency and part.status in RANKED:
            part = replace(part, objectives=self.prices(task.genome) | part.objectives)
        if part.hash not in self.known:
            return part
        before = self.known[part.hash].evaluation
        if part.status not in RANKED:
            costs = {name: value for name, value in before.objectives.items() if name != QUALITY}
            passed = {"rungs": before.rungs, "tokens": before.tokens, "loss_curve": before.loss_curve}
            part = replace(part, objectives=costs, **passed)
        if part.worker == STORE:
            return part
        return replace(
            part,
            seconds=before.seconds + part.seconds,
            train_seconds=before.train_seconds + part.train_seconds,
            retries=dict(Counter(before.retries) + Counter(part.retries)),
        )

    def is_wanted(self, evaluation: Evaluation) -> bool:
        """Return whether trained weights are kept: if it may stay on the front, or be a parent that leaves them to its
        children."""
        if self.plan.settings.warm_weights or self.scores.can_change:  # which may change until the generation is closed
            return True
        own = self.scores.values(evaluation)
        return own in non_dominated([*self._best, own])

    def know(self, row: Recorded) -> None:
        """Take a row that is recorded."""
        self.known[row.task.hash] = row
        if row.evaluation.status is Status.OK and not self.scores.can_change:
            self._best = non_dominated([*self._best, self.scores.values(row.evaluation)])

    def choose_longer(self, tasks: Sequence[Task]) -> list[tuple[Task, int]]:
        """Return which of these proxies and of the front are trained longer now, and on how many tokens, unless that is
        recorded: a function of what was known before, so that it comes out the same after an interruption."""
        fresh = [self.known[task.hash] for task in tasks if task.hash not in self._told]
        members = [self.known[one.hash] for one in self.latest.front if one.hash in self.known]
        return self.scores.choose_longer(fresh, members)

    def renew_estimates(self) -> None:
        """Fit the estimates to everything that is recorded, and give the population its new ones."""
        if self.scores.can_change:
            self.scores.renew(self.number)
            self._alive = {one.id: self.scores.renewed(one) for one in self._alive.values()}
            self._search.rescore(tuple(self._alive.values()))

    def tell(self, asked: Sequence[Asked]) -> None:
        """Tell the search what is known of these proposals."""
        hashes = {task.hash for _, task in asked}
        fresh = hashes - self._told
        self._avoided += len(asked) - len(fresh)
        self._fresh |= fresh
        self._told |= fresh
        offspring = [self._individual(*pair) for pair in asked]
        self.told += offspring
        self._alive = {one.id: one for one in self._search.tell(offspring)}

    def close(self) -> Generation:
        """Return the generation that is open, which is the latest one from now on."""
        survivors, latest = tuple(self._alive.values()), self.latest
        front = tuple(self._alive.get(one.id, one) for one in self._new_front())
        # Volumes of qualities that stand for trainings of different lengths cannot be compared.
        reference = latest.reference if latest.estimated == self.scores.target else None
        reference = reference or reference_box(objective_matrix(survivors))
        fresh = [self.known[hash].evaluation for hash in self._fresh]
        failures = Counter(latest.failures)
        failures.update(str(one.status) for one in fresh if one.status not in NO_FAILURES)
        trained = [one for one in fresh if one.status not in UNTRAINED]
        longer = self.scores.longer_tokens
        newly = [key for key in longer if self.longer[key].order.generation == self.number]
        self.latest = Generation(
            number=self.number,
            individuals=survivors,
            front=front,
            rng_state=self._search.snapshot(),
            next_id=self._search.next_id,
            evaluations=latest.evaluations + len(trained),
            duplicates_avoided=self._avoided,
            repaired=self._search.repaired,
            failures={name: failures[name] for name in sorted(failures)},
            hypervolume=hypervolume(objective_matrix(front), reference),
            reference=reference,
            turned_away=self._search.rejected_infeasible,
            tokens=latest.tokens + sum(one.tokens for one in trained) + sum(longer[key] for key in newly),
            longer=len(longer),
            estimated=self.scores.target,
            fit=self.scores.fit,
        )
        self._num_closed, self._fresh = len(self.told), set()
        return self.latest

    @property
    def told_since(self) -> list[Individual]:
        """Return what the search was told since the latest generation."""
        return self.told[self._num_closed :]

    def with_weights(self) -> set[str]:
        """Return the hashes of which weights are kept: the front; with warm weights also the population, which may yet
        have children, and what has landed since."""
        keep = {one.hash for one in self.latest.front}
        if self.plan.settings.warm_weights:
            keep |= {one.hash for one in self.latest.individuals}
            keep |= {hash for hash, one in self.known.items() if one.order.generation > self.latest.number}
        return keep

    def _new_front(self) -> list[Individual]:
        """Return what no other dominates of the front so far and of those told since that were trained to the end."""
        told = [*reversed(self.told_since), *reversed(self.latest.individuals)]
        sound = {one.hash: one for one in told if one.status is Status.OK}
        sound |= {one.hash: one for one in self.latest.front}
        rivals = [self.scores.renewed(one) for one in sound.values()]  # each architecture once
        if not rivals:
            return []
        mask = front_mask(objective_matrix(rivals))
        return sorted((one for one, is_best in zip(rivals, mask, strict=True) if is_best), key=lambda one: one.id)

    def _individual(self, proposal: Proposal, task: Task) -> Individual:
        evaluation = self.known[task.hash].evaluation
        is_ranked = evaluation.status in RANKED
        return Individual(
            id=proposal.id,
            genome=proposal.genome,
            hash=task.hash,
            generation=self.number,
            parents=proposal.parents,
            status=evaluation.status,
            objectives=dict(zip(self.plan.columns, self.scores.values(evaluation), strict=True)) if is_ranked else {},
            rank=0,
            crowding=0.0,
            shortfall=self.scores.shortfall(evaluation),
            quality_error=self.scores.error(evaluation) if is_ranked else 0.0,
        )
