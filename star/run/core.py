"""The state of a search and its generations. No files, no pool, no clock."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from star.architecture.genome import parse
from star.cost.target import TargetCost
from star.evaluation.estimate import Estimate
from star.evaluation.objectives import QUALITY
from star.records import RANKED, STORE, UNTRAINED, Evaluation, Generation, Individual, Recorded, Status, Task
from star.run.estimates import Candidate, Estimates, Longer, choose_longer, tokens_of
from star.run.plan import RunPlan
from star.search.front import front_mask, hypervolume, non_dominated, objective_matrix, reference_box
from star.search.plan import Proposal
from star.search.racing import best_share
from star.search.search import Search

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
    """

    def __init__(
        self,
        plan: RunPlan,
        rows: Mapping[str, Recorded],
        latest: Generation,
        longer: Longer = MappingProxyType({}),
    ) -> None:
        self.plan = plan
        self.screen = plan.screen()
        self.known = dict(rows)
        self.longer = dict(longer)
        self._estimates = Estimates(plan) if plan.estimation else None
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
        self._fitted: Longer = {}  # longer trainings to which the estimates are fitted
        if self._estimates:
            self._fit(self.latest.number)
        else:
            landed = [self.values(one.evaluation) for one in rows.values() if one.evaluation.status is Status.OK]
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

    @property
    def estimates_from(self) -> str:
        """Return in a sentence from what qualities are estimated; empty if they are not."""
        return self._estimates.sentence() if self._estimates else ""

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
        columns = self.plan.columns
        open_to = [task for task in tasks if task.hash not in self._seeds]
        if not self.is_estimating or not open_to or not {QUALITY, *TargetCost._fields} >= set(columns):
            return []
        assert self._estimates
        costs = [self._costs(task) for task in open_to]
        guesses = [self._estimates.guess(task.genome) for task in open_to]
        own = [
            [(cost | {QUALITY: guess.mean})[name] for name in columns]
            for cost, guess in zip(costs, guesses, strict=True)
        ]
        others = [[one.objectives[name] for name in columns] for one in self.latest.front]
        stays = best_share(np.array(own), np.array(others), self.plan.settings.screening)
        return [
            (task, Evaluation(hash=task.hash, status=Status.SCREENED, objectives=cost))
            for task, cost, is_trained in zip(open_to, costs, stays, strict=True)
            if not is_trained
        ]

    @property
    def is_estimating(self) -> bool:
        """Return whether estimates take the place of the loss of proxies now."""
        return self._estimates is not None and self._estimates.target > 0

    def join(self, part: Evaluation) -> Evaluation:
        """Return a result with what is known of the parts of the training before it. One that failed has the rungs that
        it passed, at which others were judged beside it."""
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
        if self.plan.settings.warm_weights or self._estimates:  # which may change until the generation is closed
            return True
        own = self.values(evaluation)
        return own in non_dominated([*self._best, own])

    def know(self, row: Recorded) -> None:
        """Take a row that is recorded."""
        self.known[row.task.hash] = row
        if row.evaluation.status is Status.OK and not self._estimates:
            self._best = non_dominated([*self._best, self.values(row.evaluation)])

    def choose_longer(self, tasks: Sequence[Task]) -> list[tuple[Task, int]]:
        """Return which of these proxies and of the front are trained longer now, and on how many tokens, unless that is
        recorded: a function of what was known before, so that it comes out the same after an interruption."""
        if not self._estimates:
            return []
        rows, longer = self._until(self.number - 1), self._fitted
        fresh = [self.known[task.hash] for task in tasks if task.hash not in self._told]
        members = [self.known[one.hash] for one in self.latest.front if one.hash in self.known]
        ended = {one.task.hash: one for one in (*fresh, *members) if one.evaluation.status is Status.OK}
        if not ended:
            return []
        candidates = [
            Candidate(one.task, self.values(one.evaluation), self._quality(one).error) for one in ended.values()
        ]
        front = front_mask(np.array([one.values for one in candidates]))
        tokens = sum(one.evaluation.tokens for one in (*rows, *fresh)) + sum(tokens_of(longer, self.plan).values())
        chosen = choose_longer(candidates, front.tolist(), longer, self.plan, tokens)
        return [(task, length) for task, length in chosen if (task.hash, length) not in self.longer]

    def renew_estimates(self) -> None:
        """Fit the estimates to everything that is recorded, and give the population its new ones."""
        if self._estimates:
            self._fit(self.number)
            self._alive = {one.id: self._estimated(one) for one in self._alive.values()}
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
        estimated = self._estimates.target * self.plan.step_tokens if self._estimates else 0
        front = tuple(self._alive.get(one.id, one) for one in self._new_front())
        # Volumes of qualities that stand for trainings of different lengths cannot be compared.
        reference = latest.reference if latest.estimated == estimated else None
        reference = reference or reference_box(objective_matrix(survivors))
        fresh = [self.known[hash].evaluation for hash in self._fresh]
        failures = Counter(latest.failures)
        failures.update(str(one.status) for one in fresh if one.status not in NO_FAILURES)
        trained = [one for one in fresh if one.status not in UNTRAINED]
        longer = tokens_of(self._fitted, self.plan)
        newly = [key for key in longer if self._fitted[key].order.generation == self.number]
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
            estimated=estimated,
            fit=self._estimates.fit if self._estimates else (),
        )
        self._num_closed, self._fresh = len(self.told), set()
        return self.latest

    @property
    def told_since(self) -> list[Individual]:
        """Return what the search was told since the latest generation."""
        return self.told[self._num_closed :]

    def values(self, one: Individual | Evaluation, rung: int | None = None) -> list[float]:
        """Return the run's objectives of one; the quality is that at a rung if one is given, or its estimate."""
        own = one.objectives
        if isinstance(one, Evaluation) and self._estimates:
            own = own | {QUALITY: self._quality(self.known[one.hash], rung).mean}
        elif rung is not None:
            own = own | {QUALITY: one.rungs[rung]}
        return [own[name] for name in self.plan.columns]

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
        rivals = [self._estimated(one) for one in sound.values()]  # each architecture once
        if not rivals:
            return []
        mask = front_mask(objective_matrix(rivals))
        return sorted((one for one, is_best in zip(rivals, mask, strict=True) if is_best), key=lambda one: one.id)

    def _costs(self, task: Task) -> dict[str, float]:
        cost = self.screen.cost(task.genome)
        assert cost, "what is infeasible is not screened"
        return cost.columns()

    def _until(self, number: int) -> list[Recorded]:
        """Return the trainings with a quality that were recorded until a generation was closed."""
        rows = [one for one in self.known.values() if one.order.generation <= number]
        return [one for one in rows if one.evaluation.status in RANKED]

    def _fit(self, number: int) -> None:
        """Fit the estimates to what was recorded until a generation was closed."""
        assert self._estimates
        self._fitted = {key: one for key, one in self.longer.items() if one.order.generation <= number}
        self._estimates.renew(self._until(number), self._fitted)

    def _quality(self, row: Recorded, rung: int | None = None) -> Estimate:
        """Return the estimated quality of a training, or what could be said of it at a rung."""
        assert self._estimates
        return self._estimates.estimate(row, self._fitted, rung)

    def _estimated(self, one: Individual) -> Individual:
        """Return an individual with its estimate as of now."""
        if not self._estimates or one.status not in RANKED or one.hash not in self.known:
            return one
        row = self.known[one.hash]
        found = self._quality(row)
        return replace(
            one,
            objectives=one.objectives | {QUALITY: found.mean},
            quality_error=found.error,
            shortfall=self._shortfall(row.evaluation),
        )

    def _individual(self, proposal: Proposal, task: Task) -> Individual:
        row = self.known[task.hash]
        evaluation = row.evaluation
        is_ranked = evaluation.status in RANKED
        return Individual(
            id=proposal.id,
            genome=proposal.genome,
            hash=task.hash,
            generation=self.number,
            parents=proposal.parents,
            status=evaluation.status,
            objectives=dict(zip(self.plan.columns, self.values(evaluation), strict=True)) if is_ranked else {},
            rank=0,
            crowding=0.0,
            shortfall=self._shortfall(evaluation),
            quality_error=self._quality(row).error if self._estimates and is_ranked else 0.0,
        )

    def _shortfall(self, evaluation: Evaluation) -> float:
        """Return how far a stopped one was from its end; of those equally far, the better ones are a little nearer."""
        if evaluation.status not in (Status.STOPPED, Status.SCREENED):
            return 0.0
        quality = self.values(evaluation)[self.plan.columns.index(QUALITY)]
        return (
            1
            - evaluation.tokens / (self.plan.trained.recipe.steps * self.plan.step_tokens)
            + 1e-3 * quality / (1 + quality)
        )
