"""The report of a run: one self-contained page that needs no network, and the picture of its front."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from star.architecture.genome import DECK, DECKS, EMPTY, decode, to_text
from star.architecture.spec import Slot
from star.architecture.structures import FAMILIES
from star.cost.limits import describe_limits
from star.data.sources import called
from star.errors import disk_errors_reported
from star.records import STORE, Individual
from star.report.axes import human, in_table
from star.report.figure import draw_front
from star.report.history import History, Kind, kind_of, read_history
from star.report.panels import legend, make_panels
from star.report.text import describe_failures, visible
from star.report.trends import make_shares, make_trend
from star.run.seeds import lineage
from star.storage.files import write_atomic
from star.storage.run_directory import RunDirectory

WIDTH, HEIGHT = 370, 282  # of the plot inside a chart


def write_report(run: RunDirectory, out: Path) -> tuple[Path, Path]:
    """Write OUT/report.html and OUT/front.png, and return their paths.

    Raises UserError if the run has no finished generation, or `out` cannot be written.
    """
    history = read_history(run)
    with disk_errors_reported(f"write {out}"):
        out.mkdir(parents=True, exist_ok=True)
    page, picture = out / "report.html", out / "front.png"
    write_atomic(page, render(history).encode())
    write_atomic(picture, draw_front(history))
    return page, picture


def render(history: History) -> str:
    """Return the page's text."""
    first, rows, colors, panels = history.objectives[0], history.front, class_colors(history), make_panels(history)
    numbers = [generation.number for generation in history.generations]
    volumes = [generation.hypervolume for generation in history.generations]
    values = history.quality_by_generation()
    lines = {"best": [best for _, best, _ in values], "median": [middle for *_, middle in values]}
    kinds = history.kinds_by_generation()
    counts = [(number, {kind.name: count for kind, count in found.items()}) for number, found in kinds]
    used = {name for _, found in counts for name in found}
    template = _environment().get_template("page.html")
    return template.render(
        history=history,
        facts=_facts(history),
        panels=panels,
        legend={name: f"var(--{field})" for field, name in legend(panels).items()},
        quality=make_trend(first.title, first.unit, [number for number, *_ in values], lines) if values else None,
        volumes=make_trend("Hypervolume", "", numbers, {"hypervolume": volumes}),
        shares=make_shares("Share of slots, percent", counts, colors),
        colors=colors,
        used={name: color for name, color in colors.items() if name in used},
        rows=rows,
        best={one.column: min((row.objectives[one.column] for row in rows), default=0) for one in history.objectives},
        strips={one.id: _strip(decode(one.genome), colors) for one in history.last.front},
        lineages={one.id: lineage(one, history.seeds) for one in history.last.front},
        variation=history.variation,
        tips={one.id: _tip(history, one) for one in (*history.last.individuals, *history.last.front) if one.objectives},
    )


def _environment() -> Environment:
    """Return the templates. They escape whatever they are given and show characters that cannot be seen."""
    environment = Environment(
        loader=PackageLoader("star.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"WIDTH": WIDTH, "HEIGHT": HEIGHT}
    environment.filters |= {
        "human": human,
        "in_table": in_table,
        "left": lambda at: f"{WIDTH * at:.1f}",
        "top": lambda at: f"{HEIGHT * (1 - at):.1f}",
    }
    return environment


def class_colors(history: History) -> dict[str, str]:
    """Return a colour for every class of the deck and every other kind of operator: one hue per token mixing,
    one shade per kind."""
    deck = [DECK[number] for number in DECKS[history.plan.settings.deck] if number != EMPTY]
    found = {kind for _, counts in history.kinds_by_generation() for kind in counts}
    kinds = dict.fromkeys([*(Kind(liv.name, liv.token_mixing) for liv in deck), *sorted(found)])
    families = {mixing: [kind.name for kind in kinds if kind.token_mixing is mixing] for mixing in FAMILIES}
    return {
        name: f"hsl({FAMILIES[mixing].hue} 58% {36 + 42 * place / max(1, len(members) - 1):.0f}%)"
        for mixing, members in families.items()
        for place, name in enumerate(members)
    }


def _facts(history: History) -> dict[str, str]:
    last, config = history.last, history.plan.settings
    facts = {
        "generation": f"{last.number} of {config.generations}",
        "on the front": f"{len(last.front):,}",
        "in the population": f"{len(last.individuals):,}",
        "proxies trained": f"{last.evaluations:,}",
        **_spending(history),
        "failed": describe_failures(last.failures, last.evaluations),
        "duplicates avoided": f"{last.duplicates_avoided:,}",
        "children repaired": f"{last.repaired:,}",
        "hypervolume": f"{last.hypervolume:.4g}",
        "deck": config.deck if config.levels == "backbone" else f"{config.deck}, evolving on all levels",
        "scale": config.scale if config.scale == config.target else f"{config.scale}, costs at {config.target}",
        "context": f"{config.context:,} tokens in {config.dtype}, batch {config.batch:,}",
        "corpus": ", ".join(map(called, config.corpus)),
        "seed": str(config.seed),
    }
    if limits := dict(history.plan.limits):
        facts["limits"] = describe_limits(limits)
        facts["rejected before training"] = f"{last.turned_away:,}"
    return facts


def _spending(history: History) -> dict[str, str]:
    """Return how many tokens this run trained on and how many proxies stopped early."""
    config, count = history.plan.settings, len(history.trained)
    own = [one.tokens for one in history.trained if one.worker != STORE]
    facts = {
        "early stopping": f"{config.rungs} rungs, reduction factor {config.eta}" if config.rungs > 1 else "off",
        "stopped early": f"{history.stopped:,} of {count:,}",
        "training tokens": f"{human(sum(own), '')}, {human(sum(own) / max(1, len(own)), '')} per proxy on average",
        "tokens of a full training": human(config.tokens, ""),
    }
    if len(own) < count:
        facts["results of earlier runs"] = f"{count - len(own):,} of {count:,}"
    return facts


def _strip(slots: tuple[Slot, ...], colors: dict[str, str]) -> list[tuple[str, str, list[int]]]:
    """Return the operator of each slot, its colour and the slots that it shares with, counted from 1."""
    return [
        (
            slot.liv.name,
            colors[kind_of(slot).name],
            sorted(1 + source for source in {*slot.weights_from, *slot.features_from} - {i}),
        )
        for i, slot in enumerate(slots)
    ]


def _tip(history: History, one: Individual) -> str:
    values = (
        f"{objective.title}: {human(one.objectives[objective.column], objective.unit)}"
        for objective in history.objectives
    )
    classes = " ".join(slot.liv.name for slot in decode(one.genome))
    born = f"{one.id}, born in generation {one.generation} {lineage(one, history.seeds)}"
    return "\n".join((born, *values, classes, to_text(one.genome)))
