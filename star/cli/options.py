"""The options of a search, and what their texts mean. An option that is not given leaves its setting as it is."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from star.cost.cost import DTYPE_BYTES
from star.cost.limits import LIMITS, read_limit
from star.errors import UserError
from star.run.settings import RunConfig
from star.units import read_amount

DEFAULT = RunConfig()
PLACES = ("workers", "address", "serial", "tries", "worker_memory", "gpus_per_worker", "store")
KEYS = {field.name for field in fields(RunConfig)}
OWN_DECK = re.compile(r"[0-9.,+]+/[0-9.-]+")  # the text of a genome that brings its operators

Config = Annotated[Path | None, typer.Option("--config", help="A run as TOML; options given beside it win.")]
Population = Annotated[
    int | None, typer.Option("--population", help=f"Genomes kept; {DEFAULT.population} if not given.")
]
Offspring = Annotated[
    int | None, typer.Option("--offspring", help="New genomes a generation; half the population if not given.")
]
Generations = Annotated[
    int | None, typer.Option("--generations", help=f"Rounds of offspring; {DEFAULT.generations} if not given.")
]
Out = Annotated[Path | None, typer.Option("--out", help="The run's directory, a new one; runs/DATE-TIME if not given.")]
Seed = Annotated[
    int | None,
    typer.Option("--seed", help="Two runs with one seed end alike; steady ones if results come in one order."),
]
Objectives = Annotated[
    str | None,
    typer.Option(
        "--objectives",
        help=f"What to minimise; {','.join(DEFAULT.objectives)} if not given. Also: memory, flops, latency, prefill.",
    ),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        help="A synthetic task whose error is minimised in place of quality: mad, mad/in-context-recall, mqar, ... "
        "May be repeated.",
    ),
]
Scale = Annotated[str | None, typer.Option("--scale", help="What is trained: nano, micro, 125m, 1b.")]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        help="Where costs are counted, the backbone repeated to its depth: a scale, a model of the catalogue, or a "
        ".toml file with a table \\[scale].",
    ),
]
Context = Annotated[
    int | None, typer.Option("--context", help="Tokens in the counted cache; the target's length if not given.")
]
Dtype = Annotated[
    str | None, typer.Option("--dtype", help=f"Of the counted weights and cache: {', '.join(DTYPE_BYTES)}.")
]
Batch = Annotated[
    int | None, typer.Option("--batch", help="Sequences decoded side by side, each with a cache; 1 if not given.")
]
MaxParams = Annotated[
    str | None, typer.Option("--max-params", help="Train nothing that has more parameters there: 1e9, 8B, 350M.")
]
MaxCache = Annotated[
    str | None, typer.Option("--max-cache", help="... that has a larger cache of one sequence: 64MB, 64MiB.")
]
MaxMemory = Annotated[
    str | None, typer.Option("--max-memory", help="... whose weights and caches take more together: 2GB.")
]
MaxFlops = Annotated[
    str | None, typer.Option("--max-flops", help="... that takes more forward FLOPs for a token: 2G, 1.5T.")
]
SeedGenomes = Annotated[
    list[str] | None,
    typer.Option(
        "--seed-genomes",
        help="Begin with these, joined by commas: names, .toml files, genomes, runs (their fronts), RUN:ID. May be "
        "repeated.",
    ),
]
Algorithm = Annotated[
    str | None, typer.Option("--algorithm", help="nsga2 if not given; nsga3, ga, regularised, random.")
]
Adaptive = Annotated[bool | None, typer.Option("--adaptive", help="Let operator rates follow what they achieve.")]
Mode = Annotated[
    str | None,
    typer.Option("--mode", help="generations, or steady: no worker ever waits for the end of a generation."),
]
Rungs = Annotated[
    int | None,
    typer.Option(
        "--rungs",
        help="Of the race inside a generation, the full training the last; 1: no race. 3 if not given, at nano, with "
        "quality and from 100 training steps on; else 1.",
    ),
]
Eta = Annotated[int | None, typer.Option("--eta", help="Ratio of the tokens of neighbouring rungs; 3 if not given.")]
WarmWeights = Annotated[
    bool | None, typer.Option("--warm-weights", help="Begin a child with its parents' weights in unchanged slots.")
]
Slots = Annotated[int | None, typer.Option("--slots", help="Depth of the backbone; the scale's if not given.")]
Deck = Annotated[str | None, typer.Option("--deck", help="The operator classes: paper, or extended by later ones.")]
Levels = Annotated[str | None, typer.Option("--levels", help="What evolves: backbone, or all: the operators too.")]
Window = Annotated[
    int | None, typer.Option("--window", help="Tokens of banded attention; a quarter of the scale's if not given.")
]
Corpus = Annotated[
    list[str] | None,
    typer.Option("--corpus", help="A .txt, .jsonl or .parquet file or a directory; may be repeated."),
]
Tokens = Annotated[int | None, typer.Option("--tokens", help="That one proxy trains on; the scale's if not given.")]
Timeout = Annotated[float | None, typer.Option("--timeout", help="Seconds that one proxy may take; 0: no limit.")]
Workers = Annotated[
    str | None, typer.Option("--workers", help="How many proxies train side by side, or auto: one per core.")
]
Address = Annotated[
    str | None, typer.Option("--address", help="A Ray cluster to join: auto, HOST:PORT or ray://HOST:PORT.")
]
Tries = Annotated[
    int | None, typer.Option("--tries", help="At a proxy whose worker dies, before it is given up; 3 if not given.")
]
WorkerMemory = Annotated[
    str | None, typer.Option("--worker-memory", help="That one worker may use: 4GB; an equal share if not given.")
]
GpusPerWorker = Annotated[
    float | None, typer.Option("--gpus-per-worker", help="0.25: four workers share a GPU; none if not given.")
]
Store = Annotated[
    str | None,
    typer.Option("--store", help="The directory of evaluations that runs share; .star if not given, '' for none."),
]
Serial = Annotated[bool | None, typer.Option("--serial", help="Train in this process, without Ray.")]
Json = Annotated[bool, typer.Option("--json", help="The summary as one JSON object on standard output.")]


def read_settings(given: dict[str, Any], base: RunConfig = DEFAULT) -> dict[str, Any]:
    """The settings of a run by the keys of its configuration, from the values of options by their names, where they
    differ from `base`."""
    settings = {name: value for name, value in given.items() if name in KEYS and value not in (None, (), [])}
    for name in LIMITS.keys() & settings.keys():
        settings[name] = read_limit(name, settings[name], spell(name))
    if tasks := given.get("task"):
        names = _split(settings.get("objectives") or ",".join(base.objectives))
        rest = names if "quality" in names else ("quality", *names)
        settings["objectives"] = ",".join(",".join(tasks) if name == "quality" else name for name in rest)
    if given.get("store") == "":
        settings["store"] = ""
    if settings.get("serial") and "workers" in settings:
        raise UserError("--serial trains in this process, without --workers: give one of the two")
    if settings.keys() & {"workers", "address", "gpus_per_worker"}:
        settings.setdefault("serial", False)  # whatever the configuration, or the run so far, said
    return settings | {name: read(settings[name]) for name, read in READERS.items() if name in settings}


def spell(name: str) -> str:
    """The option of a key."""
    return f"--{name.replace('_', '-')}"


def count_workers(text: str) -> int:
    """How many workers --workers asks for; 0: one per core."""
    workers = 0 if text == "auto" else read_count(text)
    if workers is None or (workers == 0 and text != "auto"):
        raise UserError(f"--workers must be auto or a number from 1, not {text[:40]!r}")
    return workers


def read_count(text: str) -> int | None:
    """The whole number that a text spells, if it does."""
    # Beyond some thousand digits int() refuses, and nobody means more than eighteen.
    return int(text) if text.isdecimal() and len(text) <= 18 else None


def _split(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(","))


def _split_genomes(values: list[str]) -> tuple[str, ...]:
    """Names joined by commas; but in the text of a genome with a deck of its own, commas are part of it."""
    lists = [[value] if OWN_DECK.fullmatch(value) else value.split(",") for value in values]
    return tuple(name.strip() for names in lists for name in names)


def _read_memory(text: str) -> float:
    return read_amount("--worker-memory", text, of_bytes=True)


READERS = {
    "objectives": _split,
    "seed_genomes": _split_genomes,
    "corpus": tuple,
    "workers": count_workers,
    "worker_memory": _read_memory,
}
