"""Train a front and named designs longer, to verify what their proxies promise."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from star.architecture import catalogue
from star.architecture.genome import canonical, genome_hash
from star.architecture.scales import Recipe
from star.errors import UserError
from star.evaluation.evaluate import evaluate
from star.evaluation.objectives import QUALITY
from star.records import Evaluation, Genome, Individual, Job, Status, Task, derive_seed
from star.run.evolve import (
    PoolMaker,
    Trainer,
    evaluation_settings,
    interruptible,
    load_same_corpus,
    make_pool,
    terminable,
)
from star.run.plan import RunPlan, plan_run, read_plan
from star.run.progress import Progress
from star.run.settings import read_record
from star.run.summary import Clock
from star.run.verification import Verification, Verified, closest_calls
from star.storage.run_directory import RunDirectory
from star.workers.pool import Pool

DESIGNS = ("transformer-pp", "gqa-transformer", "striped-mamba", "lfm2-like")  # to compare with, where they fit
TIMES = 4  # the tokens of a proxy, unless told otherwise
SEEDS = 3  # for the closest calls
MOST_EPOCHS = 4  # in which a training reads its corpus

Known = dict[tuple[str, int], Evaluation]  # by hash and seed


def verify(
    run: RunDirectory,
    tokens: int | None = None,
    seeds: int = SEEDS,
    progress: Progress | None = None,
    places: Mapping[str, Any] = MappingProxyType({}),
    evaluate: Trainer = evaluate,
    make_pool: PoolMaker = make_pool,
) -> Verification:
    """Train the front of a run and the named designs on `tokens` tokens, and record it in the run.

    Each is trained once; the half of them in the closest calls from `seeds` seeds. What is recorded already is not
    trained again, so that a verification that was killed goes on.

    Args:
        run: the directory of a run with a front.
        tokens: of each training; four times those of a proxy by default.
        seeds: trainings of each architecture in the closest calls.
        progress: is told what happens.
        places: settings of where to train, such as workers and address, by name.
        evaluate: trains and scores one proxy.
        make_pool: starts the workers that evaluate.

    Raises:
        UserError: no front, no quality among the objectives, a budget below a proxy's, or too little text for it.
        Interrupted: SIGINT or SIGTERM came; calling it again goes on.
    """
    progress = progress or Progress()
    with run.resume():
        plan = plan_run(replace(read_plan(run).settings, **places))
        tokens = TIMES * plan.settings.tokens if tokens is None else tokens
        plan = prolonged(plan, tokens)
        corpus = load_same_corpus(plan, read_record(run.config_toml), progress.noted)
        if tokens > MOST_EPOCHS * corpus.train.size:
            raise UserError(
                f"corpus {corpus.name} has {corpus.train.size:,} bytes to train on, too few for a verification of "
                f"{tokens:,} tokens: {MOST_EPOCHS * corpus.train.size:,} at most"
            )
        bound = partial(evaluate, settings=evaluation_settings(plan), corpus=corpus)
        stage, clock = Stage(run, plan, progress), Clock()
        if not stage.missing(seeds):
            return stage.result()
        with interruptible(run, "star verify"), make_pool(plan, bound, corpus) as pool, terminable():
            progress.workers_ready(pool.num_workers, clock.ready(pool))
            while tasks := stage.missing(seeds):
                stage.train(tasks, pool)
            return stage.result()


def prolonged(plan: RunPlan, tokens: int) -> RunPlan:
    """Return a plan whose proxies are trained on so many tokens in one go. Raise UserError if that is less than now, or
    if the run minimises no quality.
    """
    if QUALITY not in plan.columns:
        raise UserError(f"a run for {', '.join(plan.settings.objectives)} has no quality to verify")
    if tokens < plan.settings.tokens:
        raise UserError(f"a verification takes at least the {plan.settings.tokens:,} tokens of a proxy, not {tokens:,}")
    trained = replace(plan.trained, recipe=_prolonged(plan.trained.recipe, tokens))
    timeout = plan.placement.timeout * tokens / plan.settings.tokens
    placement = replace(plan.placement, timeout=timeout)
    return replace(plan, trained=trained, race=replace(plan.race, steps=()), placement=placement)


def _prolonged(recipe: Recipe, tokens: int) -> Recipe:
    """Return the recipe of a longer training, which begins as the shorter one does if its schedule needs no end."""
    longer = replace(recipe, tokens=tokens)
    if recipe.schedule == "cosine":
        return longer
    share = recipe.steps / longer.steps
    return replace(longer, warmup=recipe.warmup * share, hold=recipe.hold * share)


class Stage:
    """What there is to verify in a run, and what is recorded of it.

    Args:
        run: open for writing.
        plan: of the run, prolonged.
        progress: is told of each training.
    """

    def __init__(self, run: RunDirectory, plan: RunPlan, progress: Progress) -> None:
        generation = run.latest_generation()
        if generation is None or not generation.front:
            raise UserError(f"{run.path} has no front yet: there is nothing to verify")
        self._run, self._plan, self._progress = run, plan, progress
        self._front = sorted(generation.front, key=lambda one: (one.objectives[QUALITY], one.id))
        self._designs = dict(self._find_designs())

    def missing(self, seeds: int) -> list[Task]:
        """Return the trainings to do next: the first of each architecture, then the others of the closest calls."""
        known = self._known()
        everyone = [one.genome for one in self._front] + list(self._designs)
        first = [self._task(genome, 0) for genome in everyone]
        if lacking := [task for task in first if (task.hash, task.seed) not in known]:
            return lacking
        # By the first seeds alone, so that it does not matter how many others are recorded.
        close = closest_calls(self._gather({(task.hash, task.seed): known[task.hash, task.seed] for task in first}))
        more = [self._task(genome, repeat) for genome in everyone for repeat in range(1, seeds)]
        return [task for task in more if task.hash in close and (task.hash, task.seed) not in known]

    def train(self, tasks: list[Task], pool: Pool) -> None:
        """Train these and record each as it ends."""
        self._progress.verification_started(len(tasks))
        for task in tasks:
            pool.submit(Job(task=task))
        while pool.pending:
            result = pool.take()
            self._run.append_verified(result.task, result.evaluation, self._plan.trained.recipe.tokens)
            self._progress.evaluated(result.evaluation)

    def result(self) -> Verification:
        """Return what is recorded."""
        return self._gather(self._known())

    def _gather(self, known: Known) -> Verification:
        by_hash: dict[str, list[Evaluation]] = {}
        for (hash, _), one in known.items():
            by_hash.setdefault(hash, []).append(one)
        members = tuple(self._verified(one.genome, str(one.id), by_hash, one) for one in self._front)
        designs = tuple(self._verified(genome, name, by_hash) for genome, name in self._designs.items())
        return Verification(tokens=self._plan.trained.recipe.tokens, members=members, designs=designs)

    def _known(self) -> Known:
        return self._run.verified(self._plan.trained.recipe.tokens)

    def _task(self, genome: Genome, repeat: int) -> Task:
        hash = genome_hash(genome)
        return Task(genome=canonical(genome), hash=hash, seed=derive_seed(self._plan.search.seed, hash, repeat))

    def _verified(
        self, genome: Genome, name: str, found: dict[str, list[Evaluation]], member: Individual | None = None
    ) -> Verified:
        hash = genome_hash(genome)
        ended = found.get(hash, [])
        costs = self._plan.target.count(genome).columns()
        if member or ended:  # latency is measured, not counted
            costs = (member.objectives if member else ended[0].objectives) | costs
        return Verified(
            hash=hash,
            name=name,
            id=member.id if member else None,
            proxy=member.objectives[QUALITY] if member else None,
            costs={column: costs[column] for column in self._plan.columns if column in costs and column != QUALITY},
            qualities=tuple(one.objectives[QUALITY] for one in ended if one.status is Status.OK),
            error=next((one.error for one in ended if one.error), ""),
        )

    def _find_designs(self) -> Iterator[tuple[Genome, str]]:
        """Yield the named designs that the run could have found within its limits, without those on its front."""
        screen, front = self._plan.screen(), {one.hash for one in self._front}
        for name in DESIGNS:
            genome = canonical(catalogue.load(name).at(self._plan.settings.slots))
            if refusal := screen.refusal(genome):
                self._progress.noted(f"{name} is not compared with: {refusal}")
            elif genome_hash(genome) not in front:
                yield genome, name
