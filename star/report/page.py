"""The report of a run: one self-contained page that needs no network, and the picture of its front."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from star.architecture.codes import TokenMixing
from star.architecture.genome import DECK, DECKS, EMPTY, decode, to_text
from star.architecture.spec import Slot
from star.cost.limits import describe_limits
from star.data.files import called
from star.records import Individual
from star.report.axes import human, in_table
from star.report.failures import describe_failures
from star.report.figure import draw_front
from star.report.front import FrontRow
from star.report.history import History, Kind, kind_of, read_history
from star.report.panels import make_panels
from star.report.svg import line_chart, pair_chart, share_chart
from star.report.theme import SCRIPT, STYLE
from star.storage.files import disk_errors_told, write_atomic
from star.storage.run_directory import RunDirectory

HUES = {  # one for every token mixing
    TokenMixing.DIAGONAL: 285,
    TokenMixing.LOW_RANK: 214,
    TokenMixing.TOEPLITZ: 28,
    TokenMixing.SEMI_SEPARABLE: 160,
    TokenMixing.HOUSEHOLDER: 345,
    TokenMixing.NORM_PRESERVING: 70,
    TokenMixing.KEY_DECAY: 115,
}


def write_report(run: RunDirectory, out: Path) -> tuple[Path, Path]:
    """Write OUT/report.html and OUT/front.png, and return their paths.

    Raises UserError if the run has no finished generation, or `out` cannot be written.
    """
    history = read_history(run)
    with disk_errors_told(f"write {out}"):
        out.mkdir(parents=True, exist_ok=True)
    page, picture = out / "report.html", out / "front.png"
    write_atomic(page, render(history).encode())
    write_atomic(picture, draw_front(history))
    return page, picture


def render(history: History) -> str:
    """The page's text."""
    tips = {one.id: _tip(history, one) for one in (*history.last.individuals, *history.last.front) if one.objectives}
    title = escape(f"{history.name} - star")
    data = json.dumps(tips).replace("<", "\\u003c")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>\n'
        f"<h1>{escape(history.name)}</h1>\n{_facts(history)}\n{_fronts(history)}\n{_progress(history)}\n"
        f'{_table(history)}\n<div id="tip" role="status"></div>\n'
        f'<script type="application/json" id="tips">{data}</script><script>{SCRIPT}</script></body></html>\n'
    )


def class_colors(history: History) -> dict[str, str]:
    """A colour for every class of the run's deck and every other kind of operator that came up: a hue for its token
    mixing, a shade for its place among those."""
    deck = [DECK[number] for number in DECKS[history.plan.settings.deck] if number != EMPTY]
    found = {kind for _, counts in history.kinds_by_generation() for kind in counts}
    kinds = dict.fromkeys([*(Kind(liv.name, liv.token_mixing) for liv in deck), *sorted(found)])
    families = {mixing: [kind.name for kind in kinds if kind.token_mixing is mixing] for mixing in HUES}
    return {
        name: f"hsl({HUES[mixing]} 58% {36 + 42 * place / max(1, len(members) - 1):.0f}%)"
        for mixing, members in families.items()
        for place, name in enumerate(members)
    }


def _facts(history: History) -> str:
    last, config = history.last, history.plan.settings
    facts = {
        "generation": f"{last.number} of {config.generations}",
        "proxies trained": f"{last.evaluations:,}",
        "failed": describe_failures(last.failures, last.evaluations),
        "duplicates avoided": f"{last.duplicates_avoided:,}",
        "children repaired": f"{last.repaired:,}",
        "on the front": f"{len(history.front):,} of {len(last.individuals):,}",
        "hypervolume": f"{last.hypervolume:.4g}",
        "deck": config.deck if config.levels == "backbone" else f"{config.deck}, evolving on all levels",
        "scale": config.scale if config.scale == config.target else f"{config.scale}, costs at {config.target}",
        "context": f"{config.context:,} tokens in {config.dtype}, {config.batch:,} at a time",
        "corpus": ", ".join(map(called, config.corpus)),
        "tokens a proxy": human(config.tokens, ""),
        "seed": str(config.seed),
    }
    if limits := dict(history.plan.limits):
        facts["limits"] = describe_limits(limits)
        facts["turned away untrained"] = f"{last.turned_away:,}"
    items = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return f'<dl class="facts">{items}</dl>'


def _fronts(history: History) -> str:
    kinds = {"front": "front", "population": "last population", "evaluated": "evaluated"}
    if history.baselines:
        kinds["baseline"] = "named architecture"
    charts = [pair_chart(panel) for panel in make_panels(history)]
    if not charts:
        return "<h2>Pareto front</h2><p>No proxy was trained to the end yet.</p>"
    return (
        "<h2>Pareto front</h2><p>Smaller is better on every axis. The line bounds what was found in its two "
        "objectives; the other members of the front are best trade-offs of all objectives together.</p>"
        f"{_key({text: f'var(--{kind})' for kind, text in kinds.items()})}{_cards(charts)}"
    )


def _progress(history: History) -> str:
    numbers = [generation.number for generation in history.generations]
    volumes = [generation.hypervolume for generation in history.generations]
    quality, colors = history.quality_by_generation(), class_colors(history)
    shares = [
        (number, {kind.name: count for kind, count in counts.items()})
        for number, counts in history.kinds_by_generation()
    ]
    used = {name for _, counts in shares for name in counts}
    colors = {name: color for name, color in colors.items() if name in used}
    cards = []
    if quality:
        first = history.objectives[0]
        lines = {"best": [best for _, best, _ in quality], "median": [middle for *_, middle in quality]}
        chart = line_chart(first.title, first.unit, [number for number, *_ in quality], lines)
        cards.append(chart + _key({"best": "var(--front)", "median of the population": "var(--population)"}))
    cards.append(line_chart("Hypervolume", "", numbers, {"hypervolume": volumes}))
    cards.append(share_chart("Share of slots, percent", shares, colors) + _key(colors, square=True))
    return f"<h2>Generation by generation</h2>{_cards(cards)}"


def _table(history: History) -> str:
    names = [(objective.title, objective.column, objective.unit) for objective in history.objectives]
    rows = history.front
    if not rows:
        return ""
    best = {column: min((row.objectives[column] for row in rows), default=0) for _, column, _ in names}
    slots = {one.id: decode(one.genome) for one in history.last.front}
    colors = class_colors(history)
    body = []
    for row in rows:
        numbers = "".join(
            f'<td class="number{" best" if row.objectives[column] == best[column] else ""}">'
            f"{in_table(row.objectives[column], unit)}</td>"
            for _, column, unit in names
        )
        body.append(
            f'<tr data-id="{row.id}"><td class="number">{row.id}</td><td>{_strip(slots[row.id], colors)}</td>{numbers}'
            f'<td class="number">{row.generation}</td><td>{_parents(row)}</td>'
            f'<td><code title="{row.genome}">{row.brief_genome}</code></td></tr>'
        )
    heads = "".join(f'<th class="number">{escape(title)}</th>' for title, *_ in names)
    return (
        "<h2>The front</h2><p>One square a slot, first to last; a ringed slot shares weights or features with an "
        "earlier one. The best of each column is bold.</p>"
        '<div class="scroll"><table><thead><tr><th class="number">id</th><th>architecture</th>'
        f'{heads}<th class="number">generation</th><th>parents</th><th>genome</th></tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _strip(slots: tuple[Slot, ...], colors: dict[str, str]) -> str:
    cells = []
    for i, slot in enumerate(slots):
        shares = sorted({*slot.weights_from, *slot.features_from} - {i})
        color = colors[kind_of(slot).name]
        tip = f"slot {i}: {slot.liv.name}" + (f"\nshares with slot {', '.join(map(str, shares))}" if shares else "")
        mark = ' class="shared"' if shares else ""
        cells.append(f'<i{mark} style="background:{color}" data-tip="{escape(tip, quote=True)}"></i>')
    return f'<div class="strip">{"".join(cells)}</div>'


def _tip(history: History, one: Individual) -> str:
    values = (
        f"{objective.title}: {human(one.objectives[objective.column], objective.unit)}"
        for objective in history.objectives
    )
    born = f"generation {one.generation}" + (f", of {' and '.join(map(str, one.parents))}" if one.parents else "")
    classes = " ".join(slot.liv.name for slot in decode(one.genome))
    return "\n".join((f"{one.id}, {born}", *values, classes, to_text(one.genome)))


def _parents(row: FrontRow) -> str:
    return " and ".join(map(str, row.parents)) or "sampled"


def _key(colors: dict[str, str], square: bool = False) -> str:
    shape = ' class="square"' if square else ""
    items = (f'<span><i{shape} style="background:{color}"></i>{escape(name)}</span>' for name, color in colors.items())
    return f'<div class="key">{"".join(items)}</div>'


def _cards(contents: Sequence[str]) -> str:
    return f'<div class="charts">{"".join(f"<div class=card>{content}</div>" for content in contents)}</div>'
