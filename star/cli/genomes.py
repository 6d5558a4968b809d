"""Commands about many architectures, which need no torch: price, genomes, genes.

What is slow to import is imported inside the command that needs it, so that the others start at once.
"""

from pathlib import Path
from typing import Annotated

import typer

from star import catalogue
from star.cli.console import print_json, si, stderr, stdout, table
from star.cli.genes import gene_table, genes_markdown
from star.cli.sizes import DEFAULT_SCALE, Context, Dtype, Json, ScaleName, Window, dtype_bytes, with_window
from star.cost import price as price_slots
from star.genome import decode, to_text

PATTERN_SCALE = "125m"  # of named architectures without sizes of their own


def price(
    file: Annotated[Path, typer.Argument(help="Parquet with a column `genome`: lists of integers, or texts.")],
    scale: ScaleName = None,
    context: Context = None,
    dtype: Dtype = "bf16",
    window: Window = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes for large files; 0: one per core.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Write genomes and costs to this Parquet file.")] = None,
    json: Json = False,
) -> None:
    """Price every genome of a Parquet file."""
    from star.pricing import price_file

    sizes = with_window(catalogue.find_scale(scale or DEFAULT_SCALE), window)
    totals = price_file(file, sizes, context, out, workers, dtype_bytes(dtype))
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


def genomes(scale: ScaleName = None, context: Context = None, json: Json = False) -> None:
    """List the named architectures, each at the sizes it was published at, or at one scale."""
    entries = []
    for name in catalogue.names():
        named = catalogue.load(name)
        sizes = catalogue.find_scale(scale or (name if named.scale else PATTERN_SCALE))
        genes = named.at(sizes.num_slots)
        cost = price_slots(decode(genes), sizes.dims, context)
        entries.append(
            {
                "name": name,
                "title": named.title,
                "citation": named.citation,
                "note": named.note,
                "genome": to_text(genes),
                "scale": sizes.name,
                "slots": sizes.num_slots,
                "context": context or sizes.dims.seq_len,
                "params": cost.params,
                "active_params": cost.active_params,
                "cache_bytes": cost.cache_bytes,
            }
        )
    if json:
        print_json(entries)
        return
    rows = table("name", ">slots", ">params", ">active", ">context", ">cache", "what it is")
    for entry in entries:
        costs = si(entry["params"]), si(entry["active_params"]), f"{entry['context']:,}", si(entry["cache_bytes"], "B")
        rows.add_row(entry["name"], str(entry["slots"]), *costs, f"{entry['title']}; {entry['citation']}")
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
