"""The front in every pair of objectives as a PNG file."""

from io import BytesIO
from typing import TYPE_CHECKING

from star.report.history import History
from star.report.panels import NAMES, Panel, legend, make_panels
from star.report.text import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PER_ROW = 3
INCHES = (4.7, 4.1)  # of one panel
INK, SOFT, GRID = "#1c2430", "#5b6675", "#e6e9ee"
FRONT, POPULATION, OTHERS, BASELINE = "#0b66c3", "#8d97a5", "#d3d8df", "#c2500a"
EDGED = {"edgecolors": "white", "linewidths": 0.7}
MARKERS = {  # by field of Panel; later ones are drawn over earlier ones
    "others": {"s": 9, "color": OTHERS, "linewidths": 0},
    "population": {"s": 18, "color": POPULATION, "linewidths": 0},
    "front": {"s": 34, "color": FRONT, **EDGED},
    "baselines": {"s": 44, "color": BASELINE, "marker": "D", **EDGED},
}


def make_figure(history: History) -> "Figure":
    """Return the picture as a figure of matplotlib."""
    # Imported here because matplotlib takes half a second to load.
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    panels = make_panels(history)
    columns = max(1, min(PER_ROW, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    size = (INCHES[0] * max(columns, 1.35), INCHES[1] * rows + 0.9)
    figure = Figure(figsize=size, dpi=150, facecolor="white", layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
    style = {"fontsize": 12, "color": INK, "fontweight": "bold", "parse_math": False}
    figure.suptitle(_title(history), x=0.012, ha="left", **style)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, panel in zip(grid, panels, strict=False):
        _draw(axes, panel)
        for text in axes.texts:
            text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    handles = {name: mark for axes in grid for mark, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    names = legend(panels).values()
    if names:
        marks = [handles[name] for name in names]
        figure.legend(marks, names, loc="outside lower left", ncols=len(names), frameon=False, labelcolor=SOFT)
    return figure


def draw_front(history: History) -> bytes:
    """Return the picture as a PNG file."""
    buffer = BytesIO()
    make_figure(history).savefig(buffer, format="png", metadata={"Software": "star"})
    return buffer.getvalue()


def _drawable(text: str) -> str:
    """Return a text with escapes in place of characters that the font lacks."""
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))
    shown = (c if font.get_char_index(ord(c)) else c.encode("unicode_escape").decode() for c in visible(text))
    return "".join(shown)


def _title(history: History) -> str:
    count = len(history.front)
    number, name = history.last.number, _drawable(history.name)
    return f"{name}: front of generation {number}, {count} architecture{'s' * (count != 1)}"


def _draw(axes, panel: Panel) -> None:
    for name, axis in (("x", panel.x), ("y", panel.y)):
        ticks = axis.ticks()
        axes.set(**{f"{name}lim": (0, 1), f"{name}label": axis.title})
        axes.set(**{f"{name}ticks": [at for at, _ in ticks], f"{name}ticklabels": [text for _, text in ticks]})
    axes.tick_params(length=0, labelsize=9, labelcolor=SOFT, pad=6)
    axes.xaxis.label.set(size=10, color=INK)
    axes.yaxis.label.set(size=10, color=INK)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_color(GRID)
    for field, style in MARKERS.items():
        if places := [place for _, place in getattr(panel, field)]:
            axes.scatter(*zip(*places, strict=True), label=NAMES[field], zorder=3, **style)
    if panel.steps:
        axes.plot(*zip(*panel.steps, strict=True), color=FRONT, linewidth=1.1, alpha=0.55)
    for title, (x, y) in panel.baselines:
        side = {"ha": "right", "xytext": (-7, 5)} if x > 0.6 else {"ha": "left", "xytext": (7, 5)}
        style = {"textcoords": "offset points", "fontsize": 8, "color": BASELINE, "parse_math": False}
        axes.annotate(title, (x, y), **style, **side)
