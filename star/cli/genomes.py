"""Commands about architectures, which need no torch: inspect, price, genomes, genes.

What is slow to import is imported inside the command that needs it, so that the others start at once.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from star import catalogue
from star.cli.console import print_json, si, stderr, stdout, table
from star.cli.drawing import distinct_operators, draw, explain
from star.cli.find import find_genome
from star.cli.genes import gene_table, genes_markdown
from star.cost import LayerCost, itemise
from star.cost import price as price_slots
from star.genome import canonical, class_text, decode, genes_of, genome_hash, to_text
from star.scales import Scale, find_scale
from star.spec import Slot
from star.structures.equations import feature_equations, operator_equation

ScaleName = Annotated[str, typer.Option("--scale", help="The sizes to price at: nano, micro, 125m, 1b.")]
Context = Annotated[
    int | None, typer.Option("--context", min=1, help="Tokens in the cache; the scale's length by default.")
]
Window = Annotated[
    int | None,
    typer.Option("--window", min=1, help="Tokens in the window of banded attention; a quarter of the scale's length."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON value on standard output.")]


def inspect(
    genome: Annotated[str, typer.Argument(help="A name, a .toml file, a genome text, or RUN:ID.")],
    scale: ScaleName = "nano",
    context: Context = None,
    window: Window = None,
    json: Json = False,
) -> None:
    """Show what an architecture consists of, shares and costs, slot by slot, and the equations of its operators."""
    sizes = _find_sizes(scale, window)
    genes = find_genome(genome, sizes.num_slots)
    slots = decode(genes)
    cost = price_slots(slots, sizes.dims, context)
    layers = itemise(slots, sizes.dims, context)
    if json:
        print_json(
            {
                "genome": to_text(genes),
                "canonical": to_text(canonical(genes)),
                "hash": genome_hash(genes),
                "scale": sizes.name,
                "context": context or sizes.dims.seq_len,
                "params": cost.params,
                "embedding_params": cost.embedding_params,
                "active_params": cost.active_params,
                "cache_bytes": cost.cache_bytes,
                "cache_bytes_per_token": cost.cache_bytes_per_token,
                "flops_per_token": cost.flops_per_token,
                "layers": [_layer(layer) for layer in layers],
                "operators": [_operator(slot) for slot in distinct_operators(slots)],
            }
        )
        return
    print(f"genome     {to_text(genes)}\ncanonical  {to_text(canonical(genes))}\nhash       {genome_hash(genes)}\n")
    rows = table(">slot", "class", ">params", ">cache", "shared (w weights, else features)")
    for layer, drawing in zip(layers, draw(slots), strict=True):
        rows.add_row(str(layer.slot + 1), layer.name, f"{layer.params:,}", si(layer.cache_bytes, "B"), drawing)
    stdout().print(rows)
    active = f", {cost.active_params:,} of them for one token" if cost.active_params < cost.params else ""
    print(
        f"\n{cost.params:,} parameters at scale {sizes.name}, {cost.embedding_params:,} of them the embedding{active}\n"
        f"{cost.cache_bytes:,} bytes of cache at {context or sizes.dims.seq_len:,} tokens in 16 bits, "
        f"{cost.cache_bytes_per_token:,} more for each token\n"
        f"{si(cost.flops_per_token, 'FLOP')} for each token of a forward pass over them\n"
    )
    print("\n".join(line for slot in distinct_operators(slots) for line in explain(slot)))


def _find_sizes(name: str, window: int | None) -> Scale:
    """The scale of that name, with another window if one is given."""
    scale = find_scale(name)
    return replace(scale, dims=replace(scale.dims, window=window)) if window else scale


def _layer(layer: LayerCost) -> dict[str, object]:
    return {
        "slot": layer.slot,
        "class": layer.name,
        "params": layer.params,
        "active_params": layer.active_params,
        "cache_bytes": layer.cache_bytes,
        "flops_per_token": layer.flops_per_token,
        "shares_with": list(layer.shares_with),
    }


def _operator(slot: Slot) -> dict[str, object]:
    return {
        "name": slot.liv.name,
        "class": slot.class_id if slot.class_id > 0 else None,
        "codes": class_text(genes_of(slot.liv)),
        "equation": operator_equation(slot.liv),
        "features": feature_equations(slot.liv),
    }


def price(
    file: Annotated[Path, typer.Argument(help="Parquet with a column `genome`: lists of integers, or texts.")],
    scale: ScaleName = "nano",
    context: Context = None,
    window: Window = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write genomes and costs to this Parquet file.")] = None,
    json: Json = False,
) -> None:
    """Price every genome of a Parquet file."""
    from star.pricing import price_file

    totals = price_file(file, _find_sizes(scale, window), context, out)
    if json:
        print_json(
            {
                "file": str(file),
                "scale": scale,
                "out": str(out) if out else None,
                "genomes": totals.genomes,
                "genomes_per_second": totals.genomes_per_second,
                "params": totals.params._asdict(),
                "cache_bytes": totals.cache_bytes._asdict(),
            }
        )
        return
    print(f"{totals.genomes:,} genomes at scale {scale}: {totals.genomes_per_second:,.0f} a second")
    rows = table("", ">least", ">median", ">most")
    rows.add_row("parameters", *(si(value) for value in totals.params))
    rows.add_row("cache", *(si(value, "B") for value in totals.cache_bytes))
    stdout().print(rows)
    if out:
        stderr().print(f"written to {out}")


def genomes(scale: ScaleName = "125m", context: Context = None, json: Json = False) -> None:
    """List the named architectures, with their costs at a scale."""
    sizes = find_scale(scale)
    entries = []
    for name in catalogue.names():
        named = catalogue.load(name)
        genes = named.at(sizes.num_slots)
        cost = price_slots(decode(genes), sizes.dims, context)
        entries.append(
            {
                "name": name,
                "title": named.title,
                "citation": named.citation,
                "note": named.note,
                "genome": to_text(genes),
                "params": cost.params,
                "cache_bytes": cost.cache_bytes,
            }
        )
    if json:
        print_json(entries)
        return
    rows = table("name", ">params", ">cache", "what it is")
    for entry in entries:
        costs = si(entry["params"]), si(entry["cache_bytes"], "B")
        rows.add_row(entry["name"], *costs, f"{entry['title']}; {entry['citation']}")
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
