"""Commands that search: evolve and resume. Torch, Ray and pymoo are loaded only when the configuration is right."""

import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from star.cli.console import count, duration, print_json, stderr, stdout
from star.cli.live import Watcher
from star.cli.results import front_table, read_front
from star.config import DTYPE_BYTES, RunConfig, describe_limits, from_toml, read_limit
from star.report.failures import describe_failures
from star.spec import UserError

if TYPE_CHECKING:
    from star.checkpoint import RunDirectory
    from star.evolve import Summary

RUNS = Path("runs")
INTERRUPTED = 130
ROWS = 20  # of the front that are printed at the end
DEFAULT = RunConfig()
OWN_DECK = re.compile(r"[0-9.,+]+/[0-9.-]+")  # the text of a genome that brings its operators

Workers = Annotated[
    str | None, typer.Option("--workers", help="How many proxies train side by side, or auto: one per core.")
]
Address = Annotated[
    str | None, typer.Option("--address", help="A Ray cluster to join: auto, HOST:PORT or ray://HOST:PORT.")
]
Serial = Annotated[bool | None, typer.Option("--serial", help="Train in this process, without Ray.")]
Json = Annotated[bool, typer.Option("--json", help="The summary as one JSON object on standard output.")]


def evolve(
    config: Annotated[Path | None, typer.Option("--config", help="A run as TOML; options given beside it win.")] = None,
    population: Annotated[
        int | None, typer.Option("--population", help=f"Genomes kept; {DEFAULT.population} if not given.")
    ] = None,
    offspring: Annotated[
        int | None, typer.Option("--offspring", help="New genomes a generation; half the population if not given.")
    ] = None,
    generations: Annotated[
        int | None, typer.Option("--generations", help=f"Rounds of offspring; {DEFAULT.generations} if not given.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The run's directory, a new one; runs/DATE-TIME if not given.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Two runs with one seed end alike.")] = None,
    objectives: Annotated[
        str | None,
        typer.Option(
            "--objectives",
            help=f"What to minimise; {','.join(DEFAULT.objectives)} if not given. "
            "Also: memory, flops, latency, prefill.",
        ),
    ] = None,
    scale: Annotated[str | None, typer.Option("--scale", help="What is trained: nano, micro, 125m, 1b.")] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            help="Where costs are counted, the backbone repeated to its depth: a scale, a model of the catalogue, or a "
            ".toml file with a table \\[scale].",
        ),
    ] = None,
    context: Annotated[
        int | None, typer.Option("--context", help="Tokens in the counted cache; the target's length if not given.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help=f"Of the counted weights and cache: {', '.join(DTYPE_BYTES)}.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Sequences decoded side by side, each with a cache; 1 if not given.")
    ] = None,
    max_params: Annotated[
        str | None, typer.Option("--max-params", help="Train nothing that has more parameters there: 1e9, 8B, 350M.")
    ] = None,
    max_cache: Annotated[
        str | None, typer.Option("--max-cache", help="... that has a larger cache of one sequence: 64MB, 64MiB.")
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option("--max-memory", help="... whose weights and caches take more together: 2GB.")
    ] = None,
    max_flops: Annotated[
        str | None, typer.Option("--max-flops", help="... that takes more forward FLOPs for a token: 2G, 1.5T.")
    ] = None,
    seed_genomes: Annotated[
        list[str] | None,
        typer.Option(
            "--seed-genomes",
            help="Begin with these, joined by commas: names, .toml files, genomes, runs (their fronts), RUN:ID. May be "
            "repeated.",
        ),
    ] = None,
    slots: Annotated[
        int | None, typer.Option("--slots", help="Depth of the backbone; the scale's if not given.")
    ] = None,
    deck: Annotated[
        str | None, typer.Option("--deck", help="The operator classes: paper, or extended by later ones.")
    ] = None,
    levels: Annotated[
        str | None, typer.Option("--levels", help="What evolves: backbone, or all: the operators too.")
    ] = None,
    window: Annotated[
        int | None, typer.Option("--window", help="Tokens of banded attention; a quarter of the scale's if not given.")
    ] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option("--corpus", help="A .txt, .jsonl or .parquet file or a directory; may be repeated."),
    ] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", help="That one proxy trains on; the scale's if not given.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", help="Seconds that one proxy may take; 0: no limit.")
    ] = None,
    workers: Workers = None,
    address: Address = None,
    serial: Serial = None,
    json: Json = False,
) -> None:
    """Search for architectures. Everything is written down as it happens; `star resume` goes on after any stop."""
    limits = _read_limits(max_params=max_params, max_cache=max_cache, max_memory=max_memory, max_flops=max_flops)
    given = limits | {
        "population": population,
        "offspring": offspring,
        "generations": generations,
        "seed": seed,
        "objectives": _split(objectives),
        "scale": scale,
        "target": target,
        "context": context,
        "dtype": dtype,
        "batch": batch,
        "seed_genomes": _split_genomes(seed_genomes),
        "slots": slots,
        "deck": deck,
        "levels": levels,
        "window": window,
        "corpus": tuple(corpus) if corpus else None,
        "tokens": tokens,
        "timeout": timeout,
        "workers": _count_workers(workers),
        "address": address,
        "serial": serial,
    }
    base = _read(config)
    if target is not None:
        base = replace(base, target=None, target_toml="")  # that of a run.toml belongs to the target there
    with _called_as_typed(limits):
        settings = replace(base, **{name: value for name, value in given.items() if value is not None})
        settings = replace(settings, corpus=tuple(map(_absolute, settings.corpus)))

        from star.checkpoint import RunDirectory
        from star.evolve import evolve as search

        run = RunDirectory(out or RUNS / time.strftime("%Y-%m-%d-%H%M%S"))
        _drive(run, settings, lambda watcher: search(settings, run, watcher), json)


def resume(
    run: Annotated[Path, typer.Argument(help="The directory of a run.")],
    generations: Annotated[
        str, typer.Option("--generations", help="+N: so many more than the run was to have.")
    ] = "+0",
    workers: Workers = None,
    address: Address = None,
    serial: Serial = None,
    json: Json = False,
) -> None:
    """Go on with a run, to the same result as if it had never stopped."""
    extra = _read_count(generations.removeprefix("+"))
    if extra is None or not generations.startswith("+"):
        raise UserError(f"--generations of resume adds to the run: write +N, such as +2, not {generations:.40}")

    from star.checkpoint import RunDirectory
    from star.evolve import resume as go_on

    directory = RunDirectory(run).open()
    settings = from_toml(directory.config_toml)
    places = {"workers": _count_workers(workers), "address": address, "serial": serial}
    _drive(directory, settings, lambda watcher: go_on(directory, extra, watcher, **places), json)


def _drive(run: "RunDirectory", config: RunConfig, search: Callable[[Watcher], "Summary"], json: bool) -> None:
    """Search while a person watches, then export, report and tell what came out."""
    from star.evolve import Interrupted
    from star.export import export_front
    from star.report.page import write_report

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


def _split(names: str | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(name.strip() for name in names.split(","))


def _read_limits(**texts: str | None) -> dict[str, float]:
    return {name: read_limit(name, text, _option(name)) for name, text in texts.items() if text is not None}


@contextmanager
def _called_as_typed(names: Collection[str]) -> Iterator[None]:
    """A refusal that begins with one of these keys calls it by its option, because nobody wrote the key."""
    try:
        yield
    except UserError as error:
        name, space, rest = str(error).partition(" ")
        if name not in names:
            raise
        raise UserError(_option(name) + space + rest) from error


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _split_genomes(values: list[str] | None) -> tuple[str, ...] | None:
    """Names joined by commas; but in the text of a genome with a deck of its own, commas are part of it."""
    if not values:
        return None
    lists = [[value] if OWN_DECK.fullmatch(value) else value.split(",") for value in values]
    return tuple(name.strip() for names in lists for name in names)


def _count_workers(text: str | None) -> int | None:
    if text is None or text == "auto":
        return None if text is None else 0
    workers = _read_count(text)
    if not workers:
        raise UserError(f"--workers must be auto or a number from 1, not {text[:40]!r}")
    return workers


def _read_count(text: str) -> int | None:
    # Beyond some thousand digits int() refuses, and nobody means more than eighteen.
    return int(text) if text.isdecimal() and len(text) <= 18 else None


def _absolute(source: str) -> str:
    # So that the run can be resumed from another directory.
    return source if source in DEFAULT.corpus else str(Path(source).absolute())
