"""Charts as SVG text. Colours come from the page's style sheet, so that they follow its light or dark theme."""

from collections.abc import Iterable, Sequence
from html import escape

from star.report.axes import GENERATIONS, Axis, axis_over, human
from star.report.panels import Panel, Place

WIDTH, HEIGHT = 440, 340
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 46


def pair_chart(panel: Panel) -> str:
    """Everything evaluated, the last population, the front and its staircase over one pair of objectives."""
    dots = "".join(f"M{_point(place)}h0" for place in panel.evaluated)
    parts = [
        f'<path class="evaluated" d="{dots}"/>',
        *(_dot("population", id, place, 3.2) for id, place in panel.population),
        f'<polyline class="steps" points="{" ".join(map(_point, panel.steps))}"/>',
        *(_dot("front", id, place, 4.4) for id, place in panel.front),
        *(_baseline(title, place) for title, place in panel.baselines),
    ]
    return _chart(panel.x, panel.y, parts)


def line_chart(title: str, unit: str, numbers: Sequence[int], lines: dict[str, Sequence[float]]) -> str:
    """One line for each name in `lines` over the generation numbers."""
    x = _generations(numbers)
    y = axis_over(title, unit, [value for values in lines.values() for value in values])
    parts = []
    for style, (name, values) in enumerate(lines.items()):
        places = [(x.at(number), y.at(value)) for number, value in zip(numbers, values, strict=True)]
        points = " ".join(map(_point, places))
        parts.append(f'<polyline class="line line{style}" points="{points}"/>')
        for number, value, place in zip(numbers, values, places, strict=True):
            tip = escape(f"generation {number}\n{name}: {human(value, unit)}", quote=True)
            parts.append(f'<circle class="mark line{style}" r="3" {_at(place)} data-tip="{tip}"/>')
    return _chart(x, y, parts)


def share_chart(title: str, rows: Sequence[tuple[int, dict[str, int]]], colors: dict[str, str]) -> str:
    """One column a generation, cut into the share of each name, in the order of `colors` from the bottom."""
    x = _generations([number for number, _ in rows])
    y = Axis(title, "percent", 0.0, 100.0, 0.0)
    width = min(0.9 * (x.at(1) - x.at(0)), 0.12) * (WIDTH - LEFT - RIGHT)
    parts = []
    for number, counts in rows:
        total, below = sum(counts.values()), 0.0
        for name, color in colors.items():
            share = 100 * counts.get(name, 0) / total
            if not share:
                continue
            left, top = _pixels((x.at(number), y.at(below + share)))
            height = max(_pixels((0, y.at(below)))[1] - top - 0.5, 0.3)  # a hairline between neighbours
            tip = escape(f"generation {number}\n{name}: {share:.1f} % of slots", quote=True)
            parts.append(
                f'<rect x="{left - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
                f'fill="{color}" data-tip="{tip}"/>'
            )
            below += share
    return _chart(x, y, parts)


def _generations(numbers: Sequence[int]) -> Axis:
    return Axis("Generation", GENERATIONS, min(numbers) - 0.5, max(numbers) + 0.5)


def _chart(x: Axis, y: Axis, parts: Iterable[str]) -> str:
    lines, labels = [], []
    for at, text in x.ticks():
        left, _ = _pixels((at, 0))
        lines.append(f"M{left:.1f} {TOP}V{HEIGHT - BOTTOM}")
        labels.append(f'<text x="{left:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{text}</text>')
    for at, text in y.ticks():
        _, top = _pixels((0, at))
        lines.append(f"M{LEFT} {top:.1f}H{WIDTH - RIGHT}")
        labels.append(f'<text x="{LEFT - 7}" y="{top + 4:.1f}" text-anchor="end">{text}</text>')
    middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{y.title} over {x.title}")}">'
        f'<path class="grid" d="{"".join(lines)}"/>{"".join(labels)}'
        f'<text class="title" x="{middle_x}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x.title)}</text>'
        f'<text class="title" transform="translate(13 {middle_y}) rotate(-90)" text-anchor="middle">'
        f"{escape(y.title)}</text>{''.join(parts)}</svg>"
    )


def _dot(kind: str, id: int, place: Place, radius: float) -> str:
    return f'<circle class="{kind}" r="{radius}" {_at(place)} data-id="{id}"/>'


def _baseline(title: str, place: Place) -> str:
    left, top = _pixels(place)
    side, shift = ("end", -8) if place[0] > 0.6 else ("start", 8)
    return (
        f'<path class="baseline" d="M{left:.1f} {top - 5:.1f}l5 5l-5 5l-5 -5z"/>'
        f'<text class="baseline" x="{left + shift:.1f}" y="{top - 5:.1f}" text-anchor="{side}">{escape(title)}</text>'
    )


def _at(place: Place) -> str:
    left, top = _pixels(place)
    return f'cx="{left:.1f}" cy="{top:.1f}"'


def _point(place: Place) -> str:
    left, top = _pixels(place)
    return f"{left:.1f} {top:.1f}"


def _pixels(place: Place) -> Place:
    return LEFT + place[0] * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - place[1] * (HEIGHT - TOP - BOTTOM)
