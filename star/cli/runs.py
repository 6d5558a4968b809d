"""Commands that search: evolve and resume. Torch, Ray and pymoo are loaded only when the configuration is right."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from star.cli import options
from star.cli.console import count, duration, print_json, stderr, stdout
from star.cli.live import Watcher
from star.cli.results import front_table, read_front
from star.cost.limits import describe_limits
from star.errors import UserError
from star.records import Status
from star.report.failures import describe_failures
from star.run.settings import RunConfig, from_toml

if TYPE_CHECKING:
    from star.run.summary import Summary
    from star.storage.run_directory import RunDirectory

RUNS = Path("runs")
INTERRUPTED = 130
NOTHING_TRAINED = 1
ROWS = 20  # of the front that are printed at the end


def evolve(
    ctx: typer.Context,
    config: options.Config = None,
    population: options.Population = None,
    offspring: options.Offspring = None,
    generations: options.Generations = None,
    out: options.Out = None,
    seed: options.Seed = None,
    objectives: options.Objectives = None,
    task: options.Tasks = None,
    scale: options.Scale = None,
    target: options.Target = None,
    context: options.Context = None,
    dtype: options.Dtype = None,
    batch: options.Batch = None,
    max_params: options.MaxParams = None,
    max_cache: options.MaxCache = None,
    max_memory: options.MaxMemory = None,
    max_flops: options.MaxFlops = None,
    seed_genomes: options.SeedGenomes = None,
    algorithm: options.Algorithm = None,
    adaptive: options.Adaptive = None,
    mode: options.Mode = None,
    rungs: options.Rungs = None,
    eta: options.Eta = None,
    warm_weights: options.WarmWeights = None,
    slots: options.Slots = None,
    deck: options.Deck = None,
    levels: options.Levels = None,
    window: options.Window = None,
    corpus: options.Corpus = None,
    tokens: options.Tokens = None,
    timeout: options.Timeout = None,
    tries: options.Tries = None,
    workers: options.Workers = None,
    address: options.Address = None,
    worker_memory: options.WorkerMemory = None,
    gpus_per_worker: options.GpusPerWorker = None,
    serial: options.Serial = None,
    store: options.Store = None,
    json: options.Json = False,
) -> None:
    """Search for architectures. Everything is written down as it happens; `star resume` goes on after any stop."""
    base = _read(config)
    given = options.read_settings(ctx.params, base)
    if target is not None:
        base = replace(base, target=None, target_toml="")  # that of a run.toml belongs to the target there
    with _called_as_typed(given.keys()):
        settings = replace(base, **given)
        settings = replace(settings, corpus=tuple(map(_absolute, settings.corpus)))
        if eta is not None and settings.resolved().rungs == 1:
            raise UserError("--eta is the ratio between the rungs of a race, and this run has none: give --rungs too")

        from star.run.evolve import evolve as search
        from star.storage.run_directory import RunDirectory

        run = RunDirectory(out or RUNS / time.strftime("%Y-%m-%d-%H%M%S"))
        _drive(run, settings, lambda watcher: search(settings, run, watcher), json)


def resume(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(help="The directory of a run.")],
    generations: Annotated[
        str, typer.Option("--generations", help="+N: so many more than the run was to have.")
    ] = "+0",
    workers: options.Workers = None,
    address: options.Address = None,
    worker_memory: options.WorkerMemory = None,
    gpus_per_worker: options.GpusPerWorker = None,
    serial: options.Serial = None,
    store: options.Store = None,
    json: options.Json = False,
) -> None:
    """Go on with a run, to the same result as if it had never stopped."""
    extra = options.read_count(generations.removeprefix("+"))
    if extra is None or not generations.startswith("+"):
        raise UserError(f"--generations of resume adds to the run: write +N, such as +2, not {generations:.40}")

    from star.run.evolve import resume as go_on
    from star.storage.run_directory import RunDirectory

    directory = RunDirectory(run).open()
    settings = from_toml(directory.config_toml)
    given = options.read_settings({name: value for name, value in ctx.params.items() if name in options.PLACES})
    _drive(directory, settings, lambda watcher: go_on(directory, extra, watcher, given), json)


def _drive(run: "RunDirectory", config: RunConfig, search: Callable[[Watcher], "Summary"], json: bool) -> None:
    """Search while a person watches, then export, report and tell what came out."""
    from star.export import export_front
    from star.report.page import write_report
    from star.run.evolve import Interrupted

    try:
        with Watcher(config) as watcher:
            summary = search(watcher)
    except Interrupted as stop:
        stderr().print(f"star: {stop}", markup=False)
        raise typer.Exit(INTERRUPTED) from None
    for note in export_front(run, run.path / "export"):
        stderr().print(note, markup=False)
    write_report(run, run.path)
    if json:
        print_json(asdict(summary))
    else:
        _print_end(run.path, summary)
    if not summary.front_size:
        stderr().print(f"star: no proxy was trained to the end, mostly for: {_usual_failure(run)}", markup=False)
        raise typer.Exit(NOTHING_TRAINED)


def _usual_failure(run: "RunDirectory") -> str:
    """The most frequent error, of what was trained if anything was."""
    failed = [one for one in run.evaluations().values() if one.error]
    trained = [one for one in failed if one.status is not Status.INFEASIBLE]
    reasons = Counter(one.error for one in trained or failed)
    return reasons.most_common(1)[0][0] if reasons else "there was nothing to train"


def _print_end(path: Path, summary: "Summary") -> None:
    config, front = read_front(path)
    stdout().print(front_table(front[:ROWS], config))
    if len(front) > ROWS:
        print(f"and {len(front) - ROWS} more: star front {path}")
    wall = summary.wall_seconds
    if wall:
        print(
            f"\n{summary.evaluations} proxies, {count(summary.duplicates_avoided, 'duplicate')} avoided, "
            f"children repaired: {summary.repaired}; "
            f"{duration(wall)} with {count(summary.workers, 'worker')}\n"
            f"overhead {summary.overhead_seconds / wall:.1%}: the time in which no proxy was training; "
            f"workers busy {summary.worker_utilisation:.1%}"
        )
    if config.rungs > 1 and summary.evaluations:
        share = summary.training_tokens / (summary.evaluations * config.tokens)
        print(f"race    {summary.stopped} proxies stopped at a rung; {share:.1%} of the tokens of full training")
    if summary.reused:
        print(f"store   {summary.reused} of these proxies were trained by earlier runs")
    print(
        f"costs   at {summary.target}, {summary.context:,} tokens in {summary.dtype}, "
        f"{count(summary.batch, 'sequence')} at a time"
    )
    if summary.limits or summary.turned_away:
        limits = describe_limits(summary.limits) or "none"
        mostly = f", mostly: {summary.turned_away_mostly}" if summary.turned_away_mostly else ""
        print(f"limits  {limits}; {count(summary.turned_away, 'candidate')} turned away before training{mostly}")
    print(f"failed  {describe_failures(summary.failures, summary.evaluations)}")
    print(f"report  {path / 'report.html'}\nmodels  {path / 'export'}")


def _read(path: Path | None) -> RunConfig:
    if path is None:
        return RunConfig()
    try:
        return from_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the configuration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"the configuration {path} is not text") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


@contextmanager
def _called_as_typed(names: Collection[str]) -> Iterator[None]:
    """A refusal that begins with one of these keys calls it by its option, because nobody wrote the key."""
    try:
        yield
    except UserError as error:
        name, space, rest = str(error).partition(" ")
        if name not in names:
            raise
        raise UserError(options.spell(name) + space + rest) from error


def _absolute(source: str) -> str:
    # So that the run can be resumed from another directory.
    return source if source in RunConfig().corpus or "://" in source else str(Path(source).absolute())
