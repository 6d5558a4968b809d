"""A run from its configuration to its last generation, through interruptions of any kind.

Everything that lands is on disk at once. What the next generation depends on is in the last one, and what a steady run
depends on in its record of arrivals, so that a run killed at any instant and resumed ends as if it had never stopped.
"""

import platform
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

from star import __version__
from star.architecture.genome import to_text
from star.data.corpus import Corpus
from star.errors import UserError
from star.evaluation.evaluate import RUNG_SHARE, EvaluationSettings, evaluate
from star.evaluation.objectives import tasks_of
from star.options import read_record, to_toml
from star.records import Job, Result
from star.run.budget import spend
from star.run.damage import summarise_finished
from star.run.driver import Driver
from star.run.made_with import describe
from star.run.measurer import open_measurer
from star.run.opening import open_search
from star.run.plan import RunPlan, plan_run, read_plan
from star.run.progress import Progress
from star.run.repair import find_loss, repair
from star.run.seeds import choose_seeds
from star.run.settings import Settings, from_toml
from star.run.summary import Clock, Summary
from star.run.text import read_text, text_removed_unless_begun
from star.run.verifier import Verifier, is_verified
from star.storage.files import write_atomic
from star.storage.places import CONFIG, MADE_WITH, refuse_occupied
from star.storage.run_directory import RunDirectory
from star.training.latency import find_machine
from star.training.loss import check_corpus
from star.workers.pool import Evaluate, Pool, SerialPool
from star.workers.ray_pool import RayPool

MOST_EPOCHS = 4  # in which a verification reads its corpus
LIBRARIES = ("torch", "numpy", "pymoo", "ray", "pyarrow")  # whose versions can change a result


class Interrupted(Exception):
    """The run was asked to stop, and has; its message says how to go on."""


Trainer = Callable[[Job, EvaluationSettings, Corpus], Result]
PoolMaker = Callable[[RunPlan, Evaluate, Corpus], Pool]


def make_pool(plan: RunPlan, evaluate: Evaluate, corpus: Corpus) -> Pool:
    """Start the workers that a plan asks for."""
    if plan.settings.serial:
        return SerialPool(evaluate)
    return RayPool(evaluate, replace(plan.placement, store_bytes=corpus.train.nbytes + corpus.valid.nbytes))


def evolve(
    settings: Settings,
    run: RunDirectory,
    progress: Progress | None = None,
    evaluate: Trainer = evaluate,
    make_pool: PoolMaker = make_pool,
) -> Summary:
    """Search from the beginning and record everything in `run`, a directory that does not exist yet or is empty.

    Args:
        settings: what to search.
        run: where to record it.
        progress: is told what happens.
        evaluate: trains and scores one proxy.
        make_pool: starts the workers that evaluate.

    Raises:
        UserError: settings, a limit, a seed genome, a corpus or a directory that cannot be used.
        Interrupted: SIGINT or SIGTERM came; `resume` goes on from there.
    """
    with text_removed_unless_begun(run.path):
        return _evolve(settings, run, progress or Progress(), evaluate, make_pool)


def _evolve(
    settings: Settings, run: RunDirectory, progress: Progress, evaluate: Trainer, make_pool: PoolMaker
) -> Summary:
    plan = plan_run(settings)
    plan.check()
    if plan.minimises_latency:
        find_machine(plan.settings.device, plan.target.dtype_bytes)  # or nothing could be measured
    refuse_occupied(run.path)  # before a corpus is read that may be large
    # As texts: what a name or a run stands for may change later.
    seeds = choose_seeds(plan, progress.noted)
    plan = replace(plan, settings=replace(plan.settings, seed_genomes=tuple(map(to_text, seeds))))
    corpus = _read_text(plan, run, is_new=True)
    for line in corpus.report.lines():
        progress.noted(line)
    if settings.budget or settings.proxy_seconds:
        plan = plan_run(spend(replace(settings, seed_genomes=plan.settings.seed_genomes), plan, corpus))
        corpus = _read_text(plan, run, is_new=True)  # of which more may be read now
        progress.noted(f"a proxy is trained on {plan.settings.tokens:,} tokens, by the speed measured here")
    clock, text, made_with = Clock(), to_toml(plan.settings, _record(corpus)), describe(plan.settings, seeds.values())
    progress.run_started(plan.settings.generations, None)
    # The pool first: where nothing can be trained, nothing is left behind.
    bound = _bind(evaluate, plan, corpus)
    with interruptible(run), make_pool(plan, bound, corpus) as pool, run.create(text, made_with), terminable():
        progress.workers_ready(pool.num_workers, clock.ready(pool))
        return _finish(open_search(plan, run, clock, progress), plan, run, pool, progress)


def resume(
    run: RunDirectory,
    extra_generations: int = 0,
    progress: Progress | None = None,
    places: Mapping[str, Any] = MappingProxyType({}),
    evaluate: Trainer = evaluate,
    make_pool: PoolMaker = make_pool,
) -> Summary:
    """Continue the search in `run`, to a result equal to that of a run that was never stopped.

    Args:
        run: the directory of a run, finished or not.
        extra_generations: how many to add to those that the run was to have.
        progress: is told what happens.
        places: settings of where to train from now on, such as workers and address, by name; and `corpus`, where
            the text of the run lies now if it has moved, which is recorded.
        evaluate: trains and scores one proxy.
        make_pool: starts the workers that evaluate.

    Raises:
        UserError: no run there, other settings than it was made with, or a corpus that is not the one it began with.
        Interrupted: as in `evolve`.
    """
    progress = progress or Progress()
    with run.resume():
        recorded = read_plan(run).settings
        generations, text = recorded.generations + extra_generations, places.get("corpus", recorded.corpus)
        settings = replace(recorded, generations=generations, corpus=text)
        plan = plan_run(replace(settings, **places))
        if (summary := summarise_finished(run, plan)) and is_verified(run, plan):
            progress.noted(f"{run.path} is finished; star resume {run.path} --generations +N adds more")
            return summary
        corpus = load_same_corpus(plan, run, read_record(run.config_toml), progress.noted)
        clock = Clock()
        search = open_search(plan, run, clock, progress)
        lost = find_loss(plan, run, progress.noted)
        if search.is_finished() and lost is None and is_verified(run, plan):
            return search.summarise(str(run.path))
        progress.run_started(generations, search.core.latest if search.core.number else None)
        with interruptible(run), make_pool(plan, _bind(evaluate, plan, corpus), corpus) as pool, terminable():
            _record_settings(run, settings, progress)
            progress.workers_ready(pool.num_workers, clock.ready(pool))
            if lost is not None:
                repair(lost, plan, run, clock, progress, pool)
                search = open_search(plan, run, clock, progress)
            return _finish(search, plan, run, pool, progress)


def _record_settings(run: RunDirectory, settings: Settings, progress: Progress) -> None:
    """Write what has changed in the settings of a run, and what it was made with if that is not on record."""
    text = to_toml(settings, read_record(run.config_toml))
    if from_toml(text) != from_toml(run.config_toml):
        write_atomic(run.path / CONFIG, text.encode())
    if run.made_with() is None:  # a run from before there was this record, or that lost it
        if any(MADE_WITH in sentence for sentence in run.warnings):
            progress.noted(f"whether {run.path / CONFIG} still has the settings of the run could not be checked")
        run.write_made_with(describe(settings))


def _finish(search: Driver, plan: RunPlan, run: RunDirectory, pool: Pool, progress: Progress) -> Summary:
    """Go on to the last generation, verify its front if the run is to, and record where the time went."""
    search.finish(pool)
    if plan.settings.verify_tokens and search.core.latest.front:
        Verifier(run, plan, progress).finish(pool, open_measurer(plan, run, progress.noted))
    summary = search.summarise(str(run.path))
    run.write_timing(summary)
    return summary


def evaluation_settings(plan: RunPlan) -> EvaluationSettings:
    """Return how the proxies of a run are trained and measured."""
    return EvaluationSettings(
        scale=plan.trained,
        target=plan.target,
        rungs=plan.measured_steps,
        rung_share=RUNG_SHARE if plan.race.steps else 1,  # as the prior of estimates was measured, in full
        trains_on_text=any(one.needs_text for one in plan.objectives),
        device="cuda" if plan.placement.gpus_per_worker else "cpu",
        tasks=tasks_of(plan.objectives),
    )


def load_same_corpus(plan: RunPlan, run: RunDirectory, record: dict[str, str], note: Callable[[str], None]) -> Corpus:
    """Return the corpus of a run that recorded this; `note` is told of other versions of libraries.

    Raises:
        UserError: the text is not there, or another.
    """
    try:
        corpus = _read_text(plan, run)
    except UserError as error:
        raise UserError(f"{error}; if the text of a run has moved: star resume RUN --corpus PATH") from error
    _compare(record, _record(corpus), note)
    return corpus


def _bind(evaluate: Trainer, plan: RunPlan, corpus: Corpus) -> Evaluate:
    return partial(evaluate, settings=evaluation_settings(plan), corpus=corpus)


@contextmanager
def interruptible(run: RunDirectory, command: str = "star resume") -> Iterator[None]:
    """Turn Ctrl-C into a sentence on how to go on: with a command of the run."""
    try:
        yield
    except KeyboardInterrupt:
        if (run.path / CONFIG).exists():
            raise Interrupted(f"interrupted; go on with: {command} {run.path}") from None
        raise Interrupted("interrupted before the run began") from None


@contextmanager
def terminable() -> Iterator[None]:
    """Stop at SIGTERM as at Ctrl-C. Within the context of a pool, because Ray handles SIGTERM in a way of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _read_text(plan: RunPlan, run: RunDirectory, is_new: bool = False) -> Corpus:
    corpus = read_text(plan.settings, run.path, is_new)
    check_corpus(corpus, plan.trained.recipe)
    most = MOST_EPOCHS * corpus.train.size
    if (tokens := plan.settings.verify_tokens) and tokens > most:
        raise UserError(
            f"the run has {corpus.train.size:,} tokens of {corpus.name} to train on, too few for a verification of "
            f"{tokens:,} tokens: {most:,} at most"
        )
    return corpus


def _record(corpus: Corpus) -> dict[str, str]:
    versions = {name: version(name) for name in LIBRARIES}
    made_with = {"star": __version__, "python": platform.python_version()}
    return made_with | versions | {"corpus_digest": corpus.digest}


def _compare(then: dict[str, str], now: dict[str, str], note: Callable[[str], None]) -> None:
    """Refuse another corpus than the run began with; tell of other versions."""
    if then.get("corpus_digest") != now["corpus_digest"]:
        raise UserError("the corpus is not the one that this run began with: it holds another text")
    for name in now:
        if then.get(name) != now[name]:
            note(
                f"begun with {name} {then.get(name)}, going on with {now[name]}: "
                "what an uninterrupted run would give may differ in its last digits"
            )
