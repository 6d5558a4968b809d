"""Commands about many architectures, which need no torch: price, genomes, genes.

What is slow to import is imported inside the command that needs it, so that the others start at once.
"""

from pathlib import Path
from typing import Annotated

import typer

from star.architecture import catalogue
from star.architecture.genome import decode, to_text
from star.cli.console import print_json, si, stderr, stdout, table
from star.cli.find import DEFAULT_SCALE, Sizes, find, find_sizes
from star.cli.genes import gene_table, genes_markdown
from star.cli.sizes import Batch, Context, Dtype, Json, ScaleName, Window
from star.cost.cost import memory_bytes
from star.cost.cost import price as price_slots
from star.units import read_amount

PATTERN_SCALE = "125m"  # of named architectures without sizes of their own


def price(
    file: Annotated[Path, typer.Argument(help="Parquet with a column `genome`: lists of integers, or texts.")],
    scale: ScaleName = DEFAULT_SCALE,
    context: Context = None,
    dtype: Dtype = None,
    window: Window = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes for large files; 0: one per core.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Write genomes and costs to this Parquet file.")] = None,
    json: Json = False,
) -> None:
    """Price every genome of a Parquet file, each at the depth that it has."""
    from star.cost.files import price_file

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
    print(f"{totals.genomes:,} genomes at scale {sizes.name}: {totals.genomes_per_second:,.0f} a second")
    rows = table("", ">least", ">median", ">most")
    rows.add_row("parameters", *(si(value) for value in totals.params))
    rows.add_row("cache", *(si(value, "B") for value in totals.cache_bytes))
    stdout().print(rows)
    if out:
        stderr().print(f"written to {out}")


def genomes(
    scale: Annotated[
        str | None,
        typer.Option("--scale", help=f"Sizes of all; their own if not given, or {PATTERN_SCALE}'s."),
    ] = None,
    context: Context = None,
    batch: Batch = None,
    dtype: Dtype = None,
    max_memory: Annotated[
        str | None, typer.Option("--max-memory", help="List only what fits into it, such as 2GB: weights and caches.")
    ] = None,
    json: Json = False,
) -> None:
    """List the named architectures, each at the sizes it was published at, or at one scale."""
    limit = None if max_memory is None else read_amount("max_memory", max_memory, of_bytes=True)
    entries = []
    for name in catalogue.names():
        named = catalogue.load(name)
        own = None if named.scale else PATTERN_SCALE
        found = find(name, Sizes(scale=scale or own, context=context, batch=batch, dtype=dtype))
        slots = decode(found.genome)
        cost = price_slots(slots, found.scale.dims, found.context, found.dtype_bytes)
        memory = memory_bytes(cost, found.batch, found.dtype_bytes)
        if limit is not None and memory > limit:
            continue
        entries.append(
            {
                "name": name,
                "title": named.title,
                "citation": named.citation,
                "note": named.note,
                "genome": to_text(found.genome),
                "scale": found.scale.name,
                "slots": len(slots),
                "context": found.context,
                "params": cost.params,
                "active_params": cost.active_params,
                "cache_bytes": cost.cache_bytes,
                "memory_bytes": memory,
            }
        )
    if json:
        print_json(entries)
        return
    rows = table("name", ">slots", ">params", ">active", ">context", ">cache", ">memory", "what it is")
    for one in entries:
        costs = si(one["params"]), si(one["active_params"]), f"{one['context']:,}", si(one["cache_bytes"], "B")
        what = f"{one['title']}; {one['citation']}"
        rows.add_row(one["name"], str(one["slots"]), *costs, si(one["memory_bytes"], "B"), what)
    stdout().print(rows)


def genes(
    markdown: Annotated[bool, typer.Option("--markdown", help="The page docs/genes.md.")] = False,
    json: Json = False,
) -> None:
    """Print what every integer of a genome means."""
    if json:
        print_json(gene_table())
    elif markdown:
        print(genes_markdown(), end="")
    else:
        from rich.markdown import Markdown

        stdout().print(Markdown(genes_markdown()))
