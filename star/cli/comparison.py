"""A comparison by training: what a person asks for, and the tables that come of it."""

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from star.architecture.catalogue import find_scale, scale_text
from star.architecture.genome import to_text
from star.architecture.scales import SCALES
from star.cli import options
from star.cli.console import count, duration, note, print_json, say, si, stdout
from star.cli.find import DEFAULT_SCALE, Sizes, find, find_member
from star.cli.sources import absolute, absolute_sources
from star.cli.table import Table
from star.comparison.settings import ComparisonSettings
from star.errors import UserError
from star.storage.places import claimed_directory

if TYPE_CHECKING:
    from star.comparison.comparison import Match, Progress, Row
    from star.comparison.matching import Contender
    from star.comparison.statistics import Difference, Mean
    from star.comparison.trainings import Trained

COMPARISONS = Path("comparisons")
MILLI = 1_000


def compare_by_training(
    architectures: Sequence[str], scale: str | None, given: dict[str, Any], out: Path | None, json: bool
) -> None:
    """Train architectures afresh and print which are better."""
    if len(set(architectures)) < max(2, len(architectures)):
        raise UserError("a comparison by training needs two architectures or more, each named once")
    if "corpus" in given:
        given["corpus"] = absolute_sources(given["corpus"])
    if "tokenizer" in given:
        given["tokenizer"] = absolute(given["tokenizer"])
    with options.named_as_options(given.keys()):
        settings = ComparisonSettings(**given)
    notes: list[str] = []
    contenders = [_find(text, scale, notes) for text in architectures]
    for text in architectures:
        if (member := find_member(text)) and set(member.plan.settings.corpus) & set(settings.corpus):
            notes.append(f"{text} was chosen on the text that is compared on: another --corpus would tell more")

    from star.comparison.comparison import compare
    from star.trainer.trainer import Stopped

    place = nullcontext(out) if out else claimed_directory(COMPARISONS / time.strftime("%Y-%m-%d-%H%M%S"))
    with place as folder, options.named_as_options(given.keys()):
        try:
            matches = compare(contenders, settings, folder, _progress(settings, notes))
        except (Stopped, KeyboardInterrupt):
            raise typer.Abort(f"interrupted; the same command with --out {folder} goes on") from None
    if json:
        print_json({"comparison": str(folder), "matches": [describe(one) for one in matches]})
        return
    for one in matches:
        print_match(one)
    tests = sum(len(one.differences) for one in matches)
    say(
        "",
        f"± is half of a 95 % interval over {count(settings.seeds, 'seed')}; p is that of a paired test, corrected for "
        f"{count(tests, 'comparison')} (Holm); speeds are those of one thread",
        f"trainings: {folder}",
    )


def _find(text: str, scale: str | None, notes: list[str]) -> "Contender":
    from star.comparison.matching import Contender

    member = find_member(text)
    own = member.plan.settings.scale if member else DEFAULT_SCALE
    if member and not scale:
        name, toml = own, member.plan.settings.scale_toml
        return Contender(label=text, genome=member.individual.genome, scale=member.plan.trained, toml=toml)
    name = scale or own
    found = find(text, Sizes(scale=name))
    notes += [f"{text}: {sentence.replace('are priced', 'are trained')}" for sentence in found.notes]
    toml = "" if name in SCALES else scale_text(name)
    return Contender(label=text, genome=found.genome, scale=find_scale(name), toml=toml)


def _progress(settings: ComparisonSettings, notes: list[str]) -> "Progress":
    """Return what prints notes and a line for each training on standard error."""
    from star.comparison.comparison import Progress

    begun, total, ended = time.perf_counter(), 0, 0

    def started(number: int) -> None:
        nonlocal total
        total = number
        note(*(f"note: {sentence}" for sentence in notes))
        if number:
            note(f"{count(number, 'training')} of {si(settings.tokens or 0)} tokens each")

    def landed(one: "Trained") -> None:
        nonlocal ended
        ended += 1
        left = (time.perf_counter() - begun) * (total - ended) / ended
        quality = one.error if one.bits_per_byte is None else f"{one.bits_per_byte:.4f} bits/byte"
        note(f"{ended}/{total}  {one.name}  {quality}  {duration(left)} left")

    return Progress(started=started, landed=landed)


def print_match(match: "Match") -> None:
    """Print the table of a match, and what each pair shows."""
    heads = (">width", ">params", ">training FLOP/token", ">bits/byte", ">cache", ">memory", ">decode tokens/s")
    rows = Table("architecture", *heads)
    for one in match.rows:
        dims, own = one.sized.dims, one.sized.contender.scale.dims.d_model
        width = f"{dims.d_model}" if dims.d_model == own else f"{own} -> {dims.d_model}"
        rows.add_row(
            one.label,
            width,
            f"{one.cost.params:,}",
            si(one.sized.training_flops),
            _quality(one),
            si(one.cost.cache_bytes, "B"),
            si(one.memory_bytes, "B"),
            f"{1 / one.speed.decode_seconds.median:,.0f}" if one.speed else "-",
        )
    say("", f"at equal {match.kind}", "")
    stdout().print(rows)
    say("", *map(_sentence, match.differences))


def _quality(row: "Row") -> str:
    if row.mean is None:
        return "diverged"
    lost = sum(one is None for one in row.qualities)
    return _text(row.mean) + (f", {lost} diverged" if lost else "")


def _text(one: "Mean") -> str:
    return f"{one.mean:.4f}" if math.isnan(one.half) else f"{one.mean:.4f} ± {one.half:.4f}"


def _sentence(one: "Difference") -> str:
    gap = one.difference
    if math.isnan(one.p):
        return f"{one.one} and {one.other}: {gap.mean:+.4f} bits/byte; no difference is shown by one seed"
    words = f"± {gap.half:.4f} bits/byte, p = {one.p:.2g}"
    if not one.better:
        return f"{one.one} and {one.other}: no difference shown, {gap.mean:+.4f} {words}"
    worse = one.other if one.better == one.one else one.one
    return f"{one.better} is better than {worse}: {-abs(gap.mean):+.4f} {words}"


def describe(match: "Match") -> dict[str, Any]:
    """Return a match as JSON has it."""
    return {
        "equal": match.kind,
        "architectures": [
            {
                "architecture": one.label,
                "genome": to_text(one.sized.contender.genome),
                "scale": one.sized.contender.scale.name,
                "d_model": one.sized.dims.d_model,
                "own_d_model": one.sized.contender.scale.dims.d_model,
                "params": one.cost.params,
                "training_flops_per_token": one.sized.training_flops,
                "cache_bytes": one.cost.cache_bytes,
                "memory_bytes": one.memory_bytes,
                "decode_seconds": one.speed.decode_seconds.median if one.speed else None,
                "bits_per_byte": one.mean.mean if one.mean else None,
                "half_width": _number(one.mean.half) if one.mean else None,
                "by_seed": list(one.qualities),
            }
            for one in match.rows
        ],
        "differences": [
            asdict(one)
            | {"difference": one.difference.mean, "half_width": _number(one.difference.half), "p": _number(one.p)}
            | {"better": one.better or None}
            for one in match.differences
        ],
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
