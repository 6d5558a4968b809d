"""The command compare: costs of several architectures side by side, and the quality of trained ones; no torch."""

from dataclasses import dataclass
from typing import Annotated

import typer
from rich.table import Table

from star import catalogue
from star.cli.console import print_json, si, stdout, table
from star.cli.find import find_individual
from star.cli.sizes import Batch, Context, Dtype, Json, ScaleName, dtype_bytes, own_scale
from star.cost import Cost, deploy, price
from star.genome import decode, to_text
from star.records import Genome
from star.scales import Scale
from star.spec import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One architecture at the sizes that it is compared at; `objectives` are those stored in its run, if it has one."""

    label: str
    genome: Genome
    scale: Scale
    num_slots: int
    context: int
    cost: Cost
    memory_bytes: int
    objectives: dict[str, float] | None

    def as_json(self) -> dict[str, object]:
        return {
            "architecture": self.label,
            "genome": to_text(self.genome),
            "scale": self.scale.name,
            "slots": self.num_slots,
            "context": self.context,
            **{name: value for name, value in self.cost._asdict().items() if name != "flops"},
            "memory_bytes": self.memory_bytes,
            "objectives": self.objectives,
        }


def compare(
    architectures: Annotated[list[str], typer.Argument(help="Names, .toml files, genome texts, or RUN:ID.")],
    scale: ScaleName = None,
    context: Context = None,
    batch: Batch = 1,
    dtype: Dtype = "bf16",
    json: Json = False,
) -> None:
    """Put architectures side by side: what they cost at a scale, and how well those of a run did when trained there."""
    width = dtype_bytes(dtype)
    common = None if scale is None else catalogue.find_scale(scale)
    entries = [_entry(text, common, context, batch, width) for text in architectures]
    if json:
        print_json([entry.as_json() | {"batch": batch, "dtype": dtype} for entry in entries])
        return
    stdout().print(_side_by_side(entries))
    first = entries[0]
    where = "" if _scales_differ(entries) else f"scale {first.scale.name}, {first.context:,} tokens, "
    print(f"\n{where}batch {batch:,}, {dtype}; memory is that of weights and of all caches")


def _entry(text: str, common: Scale | None, context: int | None, batch: int, width: float) -> Entry:
    individual = find_individual(text)
    scale = common or own_scale(text)
    genome = individual.genome if individual else catalogue.resolve(text, scale.num_slots)
    slots, tokens = decode(genome), context or scale.dims.seq_len
    try:
        cost = price(slots, scale.dims, tokens, width)
        served = deploy(slots, scale.dims, tokens, batch, width)
    except UserError as error:
        raise UserError(f"{text} at scale {scale.name}: {error}") from error
    return Entry(
        label=text,
        genome=genome,
        scale=scale,
        num_slots=len(slots),
        context=tokens,
        cost=cost,
        memory_bytes=served.memory_bytes,
        objectives=individual.objectives or None if individual else None,
    )


def _scales_differ(entries: list[Entry]) -> bool:
    return len({one.scale for one in entries}) > 1


def _side_by_side(entries: list[Entry]) -> Table:
    """Scale and context are columns where scales differ."""
    differ = _scales_differ(entries)
    costs = (">params", ">active", ">embedding", ">cache", ">B/token", ">memory", ">FLOP/token", ">bits/byte")
    rows = table("architecture", *(("scale", ">context") if differ else ()), ">slots", *costs)
    for one in entries:
        cost, quality = one.cost, (one.objectives or {}).get("quality_bpb")
        rows.add_row(
            one.label,
            *((one.scale.name, f"{one.context:,}") if differ else ()),
            f"{one.num_slots:,}",
            *(si(value) for value in (cost.params, cost.active_params, cost.embedding_params)),
            si(cost.cache_bytes, "B"),
            f"{cost.cache_bytes_per_token:,}",
            si(one.memory_bytes, "B"),
            si(cost.flops_per_token),
            "-" if quality is None else f"{quality:.4f}",
        )
    return rows
