"""Commands about many architectures, which need no torch: price and genomes."""

from pathlib import Path
from typing import Annotated, Any

import typer

from star.architecture import catalogue
from star.architecture.catalogue import NamedGenome
from star.architecture.genome import decode, to_text
from star.cli.console import count, is_text, note, print_json, say, si, stdout
from star.cli.find import DEFAULT_SCALE, Found, Sizes, find, find_sizes
from star.cli.sizes import Batch, Context, Dtype, Json, Window
from star.cli.table import Table
from star.cost.cost import memory_bytes
from star.cost.cost import price as price_slots
from star.errors import UserError
from star.units import read_amount

PATTERN_SCALE = "125m"  # of named architectures without sizes of their own
BEYOND = "*"  # marks a context that is longer than a model was published with


def price(
    file: Annotated[Path, typer.Argument(help="A Parquet file with a column `genome` of integer lists or texts.")],
    scale: Annotated[
        str,
        typer.Option(help="Sizes to price at: nano, micro, 125m, 1b, a named model, or a .toml file."),
    ] = DEFAULT_SCALE,
    context: Context = None,
    dtype: Dtype = None,
    window: Window = None,
    workers: Annotated[
        int,
        typer.Option(
            min=0,
            help="Processes that price a large file; 0 is one per core.",
            show_default="one per core",
        ),
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="Write each genome with its costs to this Parquet file.")] = None,
    json: Json = False,
) -> None:
    """Price every genome of a Parquet file, each at the depth that it has."""
    from star.cost.files import price_file

    for path in filter(None, (file, out)):
        if not is_text(str(path)):
            raise UserError(f"the name of {path} is not UTF-8, which Parquet files need: rename it")
    sizes, width = find_sizes(Sizes(scale=scale, dtype=dtype, window=window))
    totals = price_file(file, sizes, context, out, workers, width)
    if json:
        print_json(
            {
                "file": str(file),
                "scale": sizes.name,
                "out": str(out) if out else None,
                "genomes": totals.genomes,
                "genomes_per_second": totals.genomes_per_second,
                "params": totals.params._asdict(),
                "cache_bytes": totals.cache_bytes._asdict(),
            }
        )
        return
    say(f"{totals.genomes:,} genomes at scale {sizes.name}: {totals.genomes_per_second:,.0f} per second")
    rows = Table("", ">least", ">median", ">most")
    rows.add_row("parameters", *(si(value) for value in totals.params))
    rows.add_row("cache", *(si(value, "B") for value in totals.cache_bytes))
    stdout().print(rows)
    if out:
        note(f"written to {out}")


def genomes(
    scale: Annotated[
        str | None,
        typer.Option(
            help="Price every architecture at these sizes: nano, micro, 125m, 1b, a named model, or a .toml file.",
            show_default=f"the published sizes, or {PATTERN_SCALE}",
        ),
    ] = None,
    context: Context = None,
    batch: Batch = None,
    dtype: Dtype = None,
    max_memory: Annotated[
        str | None,
        typer.Option(help="List only what fits in this memory, weights and caches together: 2GB, 512MiB."),
    ] = None,
    json: Json = False,
) -> None:
    """List the named architectures, each at the sizes it was published at, or all at one scale.

    With --context, models whose learned positions end before it are left out; a * marks a context longer than the model
    was published with.
    """
    limit = None if max_memory is None else read_amount("--max-memory", max_memory, of_bytes=True)
    entries, ended = [], 0
    for name in catalogue.names():
        named = catalogue.load(name)
        own = None if named.scale else PATTERN_SCALE
        found = find(name, Sizes(scale=scale or own, context=context, batch=batch, dtype=dtype))
        entry = _entry(named, found)
        if limit is not None and entry["memory_bytes"] > limit:
            continue
        dims = found.scale.dims
        if dims.style.positions == "learned" and found.context > dims.seq_len:
            ended += 1
            continue
        entries.append(entry)
    if json:
        print_json(entries)
        return
    _print_list(entries)
    if ended:
        say("", f"{count(ended, 'model')} left out: their learned positions end before {context:,} tokens")


def _entry(named: NamedGenome, found: Found) -> dict[str, Any]:
    slots = decode(found.genome)
    cost = price_slots(slots, found.scale.dims, found.context, found.dtype_bytes)
    return {
        "name": named.name,
        "title": named.title,
        "citation": named.citation,
        "note": named.note,
        "genome": to_text(found.genome),
        "scale": found.scale.name,
        "slots": len(slots),
        "context": found.context,
        "published_context": named.scale.dims.seq_len if named.scale else None,
        "params": cost.params,
        "active_params": cost.active_params,
        "cache_bytes": cost.cache_bytes,
        "memory_bytes": memory_bytes(cost, found.batch, found.dtype_bytes),
    }


def _print_list(entries: list[dict[str, Any]]) -> None:
    rows = Table("name", ">slots", ">params", ">active", ">context", ">cache", ">memory", "what it is")
    marked = False
    for one in entries:
        is_beyond = one["published_context"] is not None and one["context"] > one["published_context"]
        marked |= is_beyond
        rows.add_row(
            one["name"],
            one["slots"],
            si(one["params"]),
            si(one["active_params"]),
            f"{one['context']:,}{BEYOND * is_beyond}",
            si(one["cache_bytes"], "B"),
            si(one["memory_bytes"], "B"),
            f"{one['title']}; {one['citation']}",
        )
    stdout().print(rows)
    if marked:
        say("", f"{BEYOND} longer than the context that the model was published with")
