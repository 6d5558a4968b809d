"""The command inspect: what one architecture consists of, shares and costs, needing no torch."""

from typing import Annotated

import typer

from star.architecture.genome import canonical, decode, fold_text, genome_hash, to_text
from star.architecture.spec import Slot
from star.architecture.structures import feature_equations, operator_equation, specify
from star.cli.console import print_json, printable, say, si, stdout, width_of, wrap_code
from star.cli.drawing import Fold, codes_of, distinct_operators, draw, explain, fold, partners
from star.cli.find import Found, Sizes, find
from star.cli.latency import Device, Latencies, WithLatency, find_latencies
from star.cli.sizes import Batch, Context, Dtype, ScaleName, Window
from star.cli.table import Table
from star.cost.cost import Cost, Deployment, LayerCost, deploy, itemise, price
from star.evaluation.objectives import PRICES
from star.records import Genome
from star.report.front import QUALITY

LEGEND = (
    "shared: w the weights that make features, C, B, V, ... these features; of slots that a line joins, or are named"
)
LABEL = 11  # columns before a text of a genome
PUBLISHED_AT = (4_096, 131_072)  # tokens in the published caches
PUBLISHED_BYTES = 2  # of an element of them

Figures = tuple[list[str], list[list[str]]]


def inspect(
    genome: Annotated[str, typer.Argument(help="A name, a .toml file, a genome text, or RUN:ID.")],
    scale: ScaleName = None,
    context: Context = None,
    batch: Batch = None,
    dtype: Dtype = None,
    window: Window = None,
    latency: WithLatency = False,
    device: Device = "cpu",
    layers: Annotated[
        bool, typer.Option("--layers", help="Print each slot on its own line, also where slots repeat.")
    ] = False,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON value; `slot` and `shares_with` in its layers count from 0."),
    ] = False,
) -> None:
    """Show what an architecture consists of, shares and costs, slot by slot, and the equations of its operators.

    Slots are numbered from 1. Figures that a file gives in its table \\[published] are compared with what is counted.
    """
    found = find(genome, Sizes(scale=scale, context=context, batch=batch, dtype=dtype, window=window))
    slots, dims, width = decode(found.genome), found.scale.dims, found.dtype_bytes
    cost = price(slots, dims, found.context, width)
    costs = itemise(slots, dims, found.context, width)
    served = deploy(slots, dims, found.context, found.batch, width)
    latencies = find_latencies(found, device) if latency else None
    published = _compare_published(found)
    slots = specify(slots, dims).slots
    if json:
        operators = [_operator(slot) for slot in distinct_operators(slots)]
        record = _record(found, cost, costs, served, latencies)
        print_json(record | {"published": published, "operators": operators})
        return
    console = stdout()
    terminal = width_of(console.file)
    for name, text in _texts(found.genome).items():
        lines = wrap_code(text, terminal and terminal - LABEL)
        say(*(f"{name if i == 0 else '':<{LABEL}}{printable(line)}" for i, line in enumerate(lines)))
    say("")
    console.print(_layer_table(slots, _figures(costs, latencies), layers, terminal))
    say(*[LEGEND] * any(cost.shares_with for cost in costs))
    timed = [latencies.describe(found.context)] if latencies else []
    notes = (f"note: {sentence}" for sentence in found.notes)
    say("", *_totals(found, cost, served), *timed, *notes, *_differences(published), "")
    say(*(line for slot in distinct_operators(slots) for line in explain(slot)))


def _texts(genes: Genome) -> dict[str, str]:
    text, spelled = to_text(genes), to_text(canonical(genes))
    lines = {"genome": text} if text == spelled else {"genome": text, "canonical": spelled}
    return {name: fold_text(one) for name, one in lines.items()} | {"hash": genome_hash(genes)}


def _figures(costs: list[LayerCost], latencies: Latencies | None) -> Figures:
    """Return the headings of the columns of figures, and the figures of each slot."""
    heads = ["params", "active", "cache", "FLOP/token"]
    rows = [
        [f"{one.params:,}", f"{one.active_params:,}", si(one.cache_bytes, "B"), si(one.flops_per_token)]
        for one in costs
    ]
    if latencies:
        heads += ["ms prefill", "ms/token"]
        rows = [
            [*row, f"{one.prefill_ms:.4g}", f"{one.decode_ms:.4g}"]
            for row, one in zip(rows, latencies.slots, strict=True)
        ]
    return heads, rows


def _layer_table(slots: tuple[Slot, ...], figures: Figures, every: bool, width: int | None) -> Table:
    """Return the table of layers, with sharing as a drawing, or in words where the drawing is too wide."""
    folds = [Fold(i, 1, 1) for i in range(len(slots))] if every else fold(slots)
    shown = [i for one in folds for i in range(one.first, one.first + one.length)]
    drawn = _rows(slots, draw(slots, shown), folds, figures)
    return drawn if drawn.fits(width) else _rows(slots, partners(slots), folds, figures)


def _rows(slots: tuple[Slot, ...], marks: list[str], folds: list[Fold], figures: Figures) -> Table:
    heads, numbers = figures
    rows = Table(">slot", "class", *(f">{head}" for head in heads), "shared")
    for first, length, repeats in folds:
        if repeats > 1:
            rows.add_row(f"{first + 1}-{first + length * repeats}", f"{repeats} x", *[""] * len(heads), "")
        for i in range(first, first + length):
            rows.add_row(i + 1, slots[i].liv.name, *numbers[i], marks[i])
    return rows


def _totals(found: Found, cost: Cost, served: Deployment) -> list[str]:
    active = f", {cost.active_params:,} used by one token" if cost.active_params < cost.params else ""
    beside = f" and {found.batch:,} sequences" if found.batch > 1 else ""
    lines = [
        f"{cost.params:,} parameters at scale {found.scale.name}, {cost.embedding_params:,} of them embeddings{active}",
        f"{cost.cache_bytes:,} bytes of cache at {found.context:,} tokens in {found.dtype}, "
        f"{cost.cache_bytes_per_token:,} more for each token",
        f"{si(served.memory_bytes, 'B')} of memory for {si(served.weight_bytes, 'B')} of weights and "
        f"{si(served.cache_bytes, 'B')} of cache at {found.context:,} tokens{beside}",
        f"{si(cost.flops_per_token, 'FLOP')} for each token of a forward pass over them; "
        f"{si(served.decode_flops / found.batch, 'FLOP')} to decode one more",
        f"{served.intensity:,.2f} FLOP for each byte of weights and cache read, when decoding at batch {found.batch:,}",
    ]
    measured = {name: value for name, value in (found.objectives or {}).items() if name not in PRICES}
    for name, value in measured.items():
        what = "bits/byte" if name == QUALITY else name
        error = found.individual.quality_error if found.individual and name == QUALITY else 0.0
        origin = f"{'estimated from' if error else 'measured on'} {f'a {found.proxy}' if found.proxy else 'this model'}"
        lines.append(f"{value:.4f} {f'± {error:.4f} ' if error else ''}{what}, {origin}")
    return lines


def _record(
    found: Found, cost: Cost, costs: list[LayerCost], served: Deployment, latencies: Latencies | None
) -> dict[str, object]:
    layers = [_layer(layer) for layer in costs]
    if latencies:
        layers = [layer | latencies.layer_as_json(i) for i, layer in enumerate(layers)]
    return {
        "genome": to_text(found.genome),
        "canonical": to_text(canonical(found.genome)),
        "hash": genome_hash(found.genome),
        "scale": found.scale.name,
        "context": found.context,
        "batch": found.batch,
        "dtype": found.dtype,
        **{name: value for name, value in cost._asdict().items() if name != "flops"},
        "weight_bytes": served.weight_bytes,
        "memory_bytes": served.memory_bytes,
        "decode_flops": served.decode_flops,
        "arithmetic_intensity": served.intensity,
        "objectives": found.objectives,
        "trained_at": found.trained_at or None,
        "notes": list(found.notes),
        "layers": layers,
        **({"latency": latencies.as_json()} if latencies else {}),
    }


def _layer(layer: LayerCost) -> dict[str, object]:
    record = layer._asdict()
    return {"slot": record.pop("slot"), "class": record.pop("name"), **record, "shares_with": list(layer.shares_with)}


def _operator(slot: Slot) -> dict[str, object]:
    return {
        "name": slot.liv.name,
        "class": slot.class_id if slot.class_id > 0 else None,
        "codes": codes_of(slot),
        "equation": operator_equation(slot.liv),
        "features": feature_equations(slot.liv),
    }


def _compare_published(found: Found) -> dict[str, dict[str, int]] | None:
    """Return each figure of the table [published] as published and as counted; None if it has none, or is priced at
    other sizes than its own."""
    if not (found.named and found.named.published and found.is_as_published):
        return None
    slots, dims = decode(found.genome), found.scale.dims
    short, long = (price(slots, dims, context, PUBLISHED_BYTES) for context in PUBLISHED_AT)
    counted = {name: getattr(short, name) for name in ("params", "active_params", "embedding_params")}
    counted |= {
        f"cache_bytes_{context}": cost.cache_bytes for context, cost in zip(PUBLISHED_AT, (short, long), strict=True)
    }
    return {name: {"published": value, "counted": counted[name]} for name, value in found.named.published.items()}


def _differences(published: dict[str, dict[str, int]] | None) -> list[str]:
    """Return a sentence for each figure that is counted otherwise than published, or one for all if none is."""
    if not published:
        return []
    lines = [
        f"published {name} is {one['published']:,}, but {one['counted']:,} are counted"
        f"{_share(one['counted'], one['published'])}"
        for name, one in published.items()
        if one["published"] != one["counted"]
    ]
    return lines or [f"published figures are the same: {', '.join(published)}"]


def _share(counted: int, published: int) -> str:
    return f" ({counted / published - 1:+.2%})" if published else ""
