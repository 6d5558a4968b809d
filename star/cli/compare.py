"""The command compare: costs of several architectures side by side, and with tokens their fresh trainings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from star.architecture.genome import decode, to_text
from star.cli import options
from star.cli.comparison import compare_by_training
from star.cli.console import print_json, say, si, stdout
from star.cli.find import Found, Sizes, find
from star.cli.sizes import Batch, Context, Dtype, Json, ScaleName
from star.cli.table import Table
from star.comparison.settings import ComparisonSettings
from star.cost.cost import Cost, memory_bytes, price
from star.errors import UserError
from star.options import VERDICT, options_of
from star.report.front import QUALITY

OPTIONS = tuple(options_of(ComparisonSettings))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One architecture, where it is priced, and its costs there."""

    label: str
    found: Found
    num_slots: int
    cost: Cost
    memory_bytes: int

    def as_json(self) -> dict[str, object]:
        found = self.found
        return {
            "architecture": self.label,
            "genome": to_text(found.genome),
            "scale": found.scale.name,
            "slots": self.num_slots,
            "context": found.context,
            "batch": found.batch,
            "dtype": found.dtype,
            **{name: value for name, value in self.cost._asdict().items() if name != "flops"},
            "memory_bytes": self.memory_bytes,
            "objectives": found.objectives,
            "trained_at": found.trained_at or None,
            "notes": list(found.notes),
        }


@options.with_settings(OPTIONS, ComparisonSettings)
def compare(
    given: dict[str, Any],
    architectures: Annotated[list[str], typer.Argument(help="Names, .toml files, genome texts, or RUN:ID.")],
    scale: ScaleName = None,
    context: Context = None,
    batch: Batch = None,
    dtype: Dtype = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="With --tokens: directory of the trainings; one that holds this comparison is continued. "
            "\\[default: comparisons/DATE-TIME]",
            rich_help_panel=VERDICT,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Compare the costs of architectures at one scale or at their own sizes, and the quality of those of a run.

    The quality of an individual of a run is that of the model that was trained; beside costs at another size it is
    marked as that of a proxy. With --tokens all are trained afresh instead, at the widths at which they cost as much as
    the first one, and differences are tested.
    """
    if "tokens" in given:
        for name, value in (("context", context), ("batch", batch), ("dtype", dtype)):
            if value is not None:
                raise UserError(f"--{name} is for costs alone: leave it out with --tokens")
        compare_by_training(architectures, scale, given, out, json)
        return
    if given or out:
        name = options.spell(next(iter(given), "out"))
        raise UserError(f"{name} is for a comparison by training: give --tokens too")
    sizes = Sizes(scale=scale, context=context, batch=batch, dtype=dtype)
    entries = [_entry(text, sizes) for text in architectures]
    if json:
        print_json([entry.as_json() for entry in entries])
        return
    stdout().print(_side_by_side(entries))
    where = "" if _settings_differ(entries) else f"{_setting(entries[0].found)}; "
    say("", f"{where}memory is that of weights and of all caches")
    say(*(f"note: {one.label}: {sentence}" for one in entries for sentence in one.found.notes))


def _entry(text: str, sizes: Sizes) -> Entry:
    found = find(text, sizes)
    slots = decode(found.genome)
    try:
        cost = price(slots, found.scale.dims, found.context, found.dtype_bytes)
    except UserError as error:
        raise UserError(f"{text} at scale {found.scale.name}: {error}") from error
    memory = memory_bytes(cost, found.batch, found.dtype_bytes)
    return Entry(label=text, found=found, num_slots=len(slots), cost=cost, memory_bytes=memory)


def _setting(found: Found) -> str:
    return f"scale {found.scale.name}, {found.context:,} tokens, batch {found.batch:,}, {found.dtype}"


def _settings_differ(entries: list[Entry]) -> bool:
    return len({_setting(one.found) for one in entries}) > 1


def _side_by_side(entries: list[Entry]) -> Table:
    """Return the table of costs; the setting of each architecture has columns of its own if settings differ."""
    differ = _settings_differ(entries)
    costs = (">params", ">active", ">embedding", ">cache", ">B/token", ">memory", ">FLOP/token", ">bits/byte")
    own = ("scale", ">context", ">batch", "dtype") if differ else ()
    rows = Table("architecture", *own, ">slots", *costs)
    for one in entries:
        cost, found = one.cost, one.found
        setting = (found.scale.name, f"{found.context:,}", f"{found.batch:,}", found.dtype) if differ else ()
        rows.add_row(
            one.label,
            *setting,
            f"{one.num_slots:,}",
            *(si(value) for value in (cost.params, cost.active_params, cost.embedding_params)),
            si(cost.cache_bytes, "B"),
            f"{cost.cache_bytes_per_token:,}",
            si(one.memory_bytes, "B"),
            si(cost.flops_per_token),
            _quality(found),
        )
    return rows


def _quality(found: Found) -> str:
    quality = (found.objectives or {}).get(QUALITY)
    return "-" if quality is None else " ".join(filter(None, (found.proxy, f"{quality:.4f}")))
