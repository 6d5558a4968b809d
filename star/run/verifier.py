"""Longer trainings of the front of a run and of named baselines: those that are missing, and their results."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from star.architecture import catalogue
from star.architecture.genome import canonical, genome_hash
from star.errors import UserError
from star.evaluation.estimate import Estimate
from star.evaluation.objectives import QUALITY, Outcome
from star.records import RANKED, Evaluation, Genome, Individual, Job, Recorded, Result, Status, Task
from star.run.estimates import Estimates, noise_between_seeds, read_longer
from star.run.latencies import read_latencies
from star.run.plan import RunPlan
from star.run.progress import Progress
from star.run.verification import Verification, Verified, closest_calls
from star.storage.run_directory import RunDirectory
from star.workers.pool import Pool

if TYPE_CHECKING:
    from star.run.measurer import Measurer  # loads torch

BASELINES = ("transformer-pp", "gqa-transformer", "striped-mamba", "lfm2-like")  # to compare with, where they fit

Known = dict[tuple[str, int], Evaluation]  # by hash and seed
NOTHING: Mapping[str, Estimate] = MappingProxyType({})


def is_verified(run: RunDirectory, plan: RunPlan) -> bool:
    """Return whether the front of a run was trained longer, or is not to be."""
    if not plan.settings.verify_tokens or not _front(run):
        return True
    return not Verifier(run, plan, Progress()).missing()


def read_verification(run: RunDirectory, plan: RunPlan) -> Verification | None:
    """Return the verification of a run by the longest trainings that are recorded; None without any."""
    budgets = run.verified_budgets()
    if plan.estimation:  # the proxies of baselines are no verification
        budgets = [one for one in budgets if one > plan.settings.tokens or one == plan.settings.verify_tokens]
    if not budgets or not _front(run):
        return None
    return Verifier(run, plan.verifying(budgets[-1]), Progress()).result()


class Verifier:
    """Longer trainings of the front of a run and of the named baselines, which are recorded in the run.

    Each is trained once, from the seed of its proxy; the half of them in the closest calls from `verify_seeds` seeds.
    What is recorded is not trained again, so that a verification that was killed goes on.

    Args:
        run: the run, open for writing if anything is to be trained.
        plan: of the run; its settings say how many tokens and seeds.
        progress: is told of each training.

    Raises:
        UserError: the run has no front yet.
    """

    def __init__(self, run: RunDirectory, plan: RunPlan, progress: Progress) -> None:
        if not (front := _front(run)):
            raise UserError(f"{run.path} has no front yet: there is nothing to verify")
        self._run, self._plan, self._progress = run, plan, progress
        assert plan.settings.verify_tokens, "a plan that verifies"
        self._tokens, self._seeds = plan.settings.verify_tokens, plan.settings.verify_seeds
        self._front = sorted(front, key=lambda one: (one.objectives[QUALITY], one.id))
        self._baselines = dict(self._find_baselines())
        self._latencies = read_latencies(plan, run)

    def missing(self) -> list[tuple[Task, int]]:
        """Return the trainings to do next, each with its tokens: the proxies of the baselines where qualities are
        estimated from them, the first training of each architecture, then the others of the closest calls."""
        known = self._known()
        everyone = [one.genome for one in self._front] + list(self._baselines)
        first = [self._plan.task(genome) for genome in everyone]
        if self._plan.estimation:
            proxies = self._proxies()
            begin = [task for task in first if task.hash not in proxies and (task.hash, task.seed) not in known]
            if begin:
                return [(task, self._plan.settings.tokens) for task in begin]
        if lacking := [task for task in first if (task.hash, task.seed) not in known]:
            return [(task, self._tokens) for task in lacking]
        # By the first seeds alone, so that it does not matter how many others are recorded.
        close = closest_calls(self._gather({(task.hash, task.seed): known[task.hash, task.seed] for task in first}))
        more = [self._plan.task(genome, repeat) for genome in everyone for repeat in range(1, self._seeds)]
        return [(task, self._tokens) for task in more if task.hash in close and (task.hash, task.seed) not in known]

    def finish(self, pool: Pool, measurer: "Measurer | None" = None) -> None:
        """Train what is missing, and record each training as it ends; before, measure the latencies of the baselines
        if the run minimises such.
        """
        if measurer:
            measurer.complete(self._baselines)
            self._latencies = measurer.table
        while trainings := self.missing():
            self._progress.verification_started(len(trainings))
            for task, tokens in trainings:
                pool.submit(self._job(task, tokens))
            tokens = trainings[0][1]  # the same for all that are missing at once
            while pool.pending:
                self._land(pool.take(), tokens)

    def _job(self, task: Task, tokens: int) -> Job:
        """Return a training: from where that of the proxy stands, if it can go on."""
        proxy = self._plan.settings.tokens
        if tokens == proxy and self._plan.estimation:
            return Job(task=task)
        goes_on = self._plan.trained.recipe.is_open_ended and task == self._plan.task(task.genome)
        state = self._run.load_state(task.hash) if goes_on else None
        return Job(task=task, tokens=tokens, times=tokens / proxy, state=state or {})

    def _land(self, result: Result, tokens: int) -> None:
        if result.state and result.task == self._plan.task(result.task.genome):
            self._run.save_state(result.task.hash, result.state)
        self._run.append_verified(result.task, result.evaluation, tokens)
        self._progress.evaluated(result.evaluation)

    def result(self) -> Verification:
        """Return what is recorded."""
        known = self._known()
        target, expected = self._expect(known)
        return self._gather(known, target, expected)

    def _gather(self, known: Known, target: int = 0, expected: Mapping[str, Estimate] = NOTHING) -> Verification:
        by_hash: dict[str, list[Evaluation]] = {}
        for (hash, _), one in known.items():
            by_hash.setdefault(hash, []).append(one)
        members = tuple(self._verified(one.genome, str(one.id), by_hash, expected, one) for one in self._front)
        baselines = tuple(self._verified(genome, name, by_hash, expected) for genome, name in self._baselines.items())
        ranked_by = "estimate" if any(one.quality_error for one in self._front) else "proxy"
        return Verification(
            tokens=self._tokens,
            ranked_by=ranked_by,
            members=members,
            baselines=baselines,
            expected_tokens=target,
            noise=noise_between_seeds(self._plan, self._tokens),
        )

    def _known(self) -> Known:
        longer = {key: one.evaluation for key, one in self._run.longer(self._tokens).items()}
        return longer | self._run.verified(self._tokens)

    def _proxies(self) -> dict[str, Recorded]:
        """Return the proxies from which qualities are estimated, by hash."""
        rows = {hash: one for hash, one in self._run.history().items() if one.task == self._plan.task(one.task.genome)}
        for genome in self._baselines:
            task = self._plan.task(genome)
            if found := self._run.verified(self._plan.settings.tokens).get((task.hash, task.seed)):
                rows.setdefault(task.hash, Recorded(task, found))
        return rows

    def _expect(self, known: Known) -> tuple[int, dict[str, Estimate]]:
        """Return the qualities that all trainings let expect, by hash, and the tokens that they stand for; none where
        they would be those of the verification."""
        if not self._plan.estimation:
            return 0, {}
        rows, longer = self._proxies(), dict(read_longer(self._plan, self._run))
        for hash, row in rows.items():
            if found := known.get((hash, row.task.seed)):
                longer[hash, self._tokens] = Recorded(row.task, found)
        ranked = [row for row in rows.values() if row.evaluation.status in RANKED]
        estimates = Estimates(self._plan)
        estimates.renew(ranked, longer)
        target = estimates.target * self._plan.step_tokens
        if target <= self._tokens:
            return 0, {}
        ended = {hash for hash, _ in known} & {row.task.hash for row in ranked}
        return target, {hash: estimates.estimate(rows[hash], longer) for hash in ended}

    def _verified(
        self,
        genome: Genome,
        name: str,
        found: Mapping[str, Sequence[Evaluation]],
        expected: Mapping[str, Estimate],
        member: Individual | None = None,
    ) -> Verified:
        hash = genome_hash(genome)
        ended = found.get(hash, [])
        costs = (member.objectives if member else {}) | self._prices(genome)
        return Verified(
            hash=hash,
            name=name,
            id=member.id if member else None,
            proxy=member.objectives[QUALITY] if member else None,
            costs={column: costs[column] for column in self._plan.columns if column in costs and column != QUALITY},
            qualities=tuple(one.objectives[QUALITY] for one in ended if one.status is Status.OK),
            error=next((one.error for one in ended if one.error), ""),
            expected=expected.get(hash),
        )

    def _prices(self, genome: Genome) -> dict[str, float]:
        """Return the costs of an architecture, and its latencies if the run has measured all of its operators."""
        is_measured = self._plan.minimises_latency and not self._latencies.missing([genome])
        latency = self._latencies.total(genome) if is_measured else None
        return Outcome(cost=self._plan.target.count(genome), latency=latency).columns()

    def _find_baselines(self) -> Iterator[tuple[Genome, str]]:
        """Yield the named baselines that the run could have found within its limits, without those on its front."""
        screen, front = self._plan.screen(), {one.hash for one in self._front}
        for name in BASELINES:
            genome = canonical(catalogue.load(name).at(self._plan.settings.slots))
            if refusal := screen.refusal(genome):
                self._progress.noted(f"{name} is not compared with: {refusal}")
            elif genome_hash(genome) not in front:
                yield genome, name


def _front(run: RunDirectory) -> tuple[Individual, ...]:
    generation = run.latest_generation()
    return generation.front if generation else ()
