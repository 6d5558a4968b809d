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
from star.data.corpus import Corpus, load_corpus
from star.errors import UserError
from star.evaluation.evaluate import EvaluationSettings, evaluate
from star.evaluation.objectives import find_objectives, tasks_of
from star.run.evolution import Evolution
from star.run.plan import check_limits, rung_steps, target_of, trained_scale
from star.run.progress import Progress, Silent
from star.run.seeds import choose_seeds
from star.run.settings import RunConfig, from_toml, read_record, to_toml
from star.run.steady import Steady
from star.run.summary import Clock, Summary
from star.storage.files import write_atomic
from star.storage.places import CONFIG, refuse_occupied
from star.storage.run_directory import RunDirectory
from star.training.loop import check_corpus
from star.workers.placement import Placement
from star.workers.pool import Pool, SerialPool
from star.workers.ray_pool import RayPool

LEAST_CORPUS = 32 << 20  # bytes of text that are read at least, where there are as many
LIBRARIES = ("torch", "numpy", "pymoo", "ray", "pyarrow")  # whose versions can change a result


class Interrupted(Exception):
    """The run was asked to stop, and has; its message says how to go on."""


def evolve(config: RunConfig, run: RunDirectory, progress: Progress | None = None) -> Summary:
    """Search from the beginning and record everything in `run`, a directory that does not exist yet or is empty.

    Raises:
        UserError: an unknown objective, or none that needs training, a limit that nothing can meet, a seed genome,
            corpus or directory that cannot be used.
        Interrupted: SIGINT or SIGTERM came; `resume` goes on from there.
    """
    config, progress = config.resolved(), progress or Silent()
    if not any(one.needs_text or one.tasks for one in find_objectives(config.objectives)):
        raise UserError("objectives must name quality or a synthetic task: all others are known without any training")
    refuse_occupied(run.path)  # before a corpus is read that may be large
    check_limits(config)
    # As texts: what a name or a run stands for may change later.
    config = replace(config, seed_genomes=tuple(map(to_text, choose_seeds(config, progress.noted))))
    corpus = _load_corpus(config)
    clock, text = Clock(), to_toml(config, _record(corpus))
    progress.run_started(config.generations, None)
    # The pool first: where nothing can be trained, nothing is left behind.
    with _interruptible(run), _make_pool(config, corpus) as pool, run.create(text):
        return _finish(run, _stand(config, run, clock, progress), pool, clock, progress)


def resume(
    run: RunDirectory,
    extra_generations: int = 0,
    progress: Progress | None = None,
    places: Mapping[str, Any] = MappingProxyType({}),
) -> Summary:
    """Go on with the search in `run`, to a result equal to that of a run that was never stopped.

    Args:
        run: the directory of a run, finished or not.
        extra_generations: how many to add to those that the run was to have.
        progress: is told what happens.
        places: settings of where to train from now on, such as workers and address, by key of the configuration.

    Raises:
        UserError: no run there, or a corpus that is not the one it began with.
        Interrupted: as in `evolve`.
    """
    progress = progress or Silent()
    with run.resume():
        recorded = from_toml(run.config_toml)
        config = replace(recorded, generations=recorded.generations + extra_generations).resolved()
        driven = replace(config, **places)
        record = read_record(run.config_toml)
        corpus = load_same_corpus(config, record, progress.noted)
        clock = Clock()
        evolution = _stand(driven, run, clock, progress)
        if evolution.is_finished():
            progress.noted(f"{run.path} is finished; star resume {run.path} --generations +N adds more")
            return evolution.summarise(clock)
        progress.run_started(config.generations, evolution.latest)
        with _interruptible(run), _make_pool(driven, corpus) as pool:
            if extra_generations:
                write_atomic(run.path / CONFIG, to_toml(config, record).encode())
            return _finish(run, evolution, pool, clock, progress)


def _stand(config: RunConfig, run: RunDirectory, clock: Clock, progress: Progress) -> Evolution:
    """A search where the record of its run ends."""
    return (Steady if config.mode == "steady" else Evolution)(config, run, clock, progress)


def _finish(run: RunDirectory, evolution: Evolution, pool: Pool, clock: Clock, progress: Progress) -> Summary:
    """Go on to the last generation. Inside the pool's context, because Ray handles SIGTERM in a way of its own."""
    with _terminable():
        progress.workers_ready(pool.num_workers, clock.ready(pool))
        evolution.finish(pool)
        summary = evolution.summarise(clock)
        run.write_timing(summary)
        return summary


def settings_of(config: RunConfig) -> EvaluationSettings:
    """How the proxies of a run are trained and measured."""
    objectives = find_objectives(config.objectives)
    return EvaluationSettings(
        scale=trained_scale(config),
        target=target_of(config),
        rungs=rung_steps(config),
        reads_text=any(one.needs_text for one in objectives),
        measures_latency=any(one.needs_latency for one in objectives),
        device="cuda" if config.gpus_per_worker else "cpu",
        tasks=tasks_of(objectives),
    )


def load_same_corpus(config: RunConfig, record: dict[str, str], note: Callable[[str], None]) -> Corpus:
    """The corpus of a run that recorded this; UserError if its text has changed. `note` is told of other versions."""
    corpus = _load_corpus(config)
    _compare(record, _record(corpus), note)
    return corpus


def _make_pool(config: RunConfig, corpus: Corpus) -> Pool:
    train = partial(evaluate, settings=settings_of(config), corpus=corpus)
    if config.serial:
        return SerialPool(train)
    placement = Placement(
        workers=config.workers,
        address=config.address,
        timeout=config.timeout,
        tries=config.tries,
        worker_memory=config.worker_memory,
        gpus_per_worker=config.gpus_per_worker,
        store_bytes=corpus.train.nbytes + corpus.valid.nbytes,
    )
    return RayPool(train, placement)


@contextmanager
def _interruptible(run: RunDirectory) -> Iterator[None]:
    """Turn Ctrl-C into a sentence on how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        if (run.path / CONFIG).exists():
            raise Interrupted(f"interrupted; go on with: star resume {run.path}") from None
        raise Interrupted("interrupted before the run began") from None


@contextmanager
def _terminable() -> Iterator[None]:
    """Stop at SIGTERM as at Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _load_corpus(config: RunConfig) -> Corpus:
    corpus = load_corpus(config.corpus, max(LEAST_CORPUS, 2 * config.tokens))
    check_corpus(corpus, trained_scale(config).recipe)
    return corpus


def _record(corpus: Corpus) -> dict[str, str]:
    versions = {name: version(name) for name in LIBRARIES}
    made_with = {"star": __version__, "python": platform.python_version()}
    return made_with | versions | {"corpus_digest": corpus.digest}


def _compare(then: dict[str, str], now: dict[str, str], note: Callable[[str], None]) -> None:
    """Refuse another corpus than the run began with; tell of other versions."""
    if then.get("corpus_digest") != now["corpus_digest"]:
        raise UserError("the corpus is not the one that this run began with: its text has changed since")
    for name in now:
        if then.get(name) != now[name]:
            note(
                f"begun with {name} {then.get(name)}, going on with {now[name]}: "
                "what an uninterrupted run would give may differ in its last digits"
            )
