"""The front in every pair of objectives as a PNG."""

from io import BytesIO

from star.report.history import History
from star.report.panels import Panel, make_panels

PER_ROW = 3
INCHES = (4.7, 4.1)  # of one panel
INK, SOFT, GRID = "#1c2430", "#5b6675", "#e6e9ee"
FRONT, POPULATION, EVALUATED, BASELINE = "#0b66c3", "#8d97a5", "#d3d8df", "#c2500a"


def draw_front(history: History) -> bytes:
    """The picture's bytes."""
    # matplotlib takes half a second to load, which only those who want a picture should wait for.
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    panels = make_panels(history)
    columns = max(1, min(PER_ROW, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    size = (INCHES[0] * max(columns, 1.35), INCHES[1] * rows + 0.9)
    figure = Figure(figsize=size, dpi=150, facecolor="white", layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
    figure.suptitle(_title(history), x=0.012, ha="left", fontsize=12, color=INK, fontweight="bold")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, panel in zip(grid, panels, strict=False):
        _draw(axes, panel)
        for text in axes.texts:
            text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if panels:
        figure.legend(handles, labels, loc="outside lower left", ncols=len(labels), frameon=False, labelcolor=SOFT)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": "star"})
    return buffer.getvalue()


def _title(history: History) -> str:
    count = len(history.front)
    return f"{history.name}: front of generation {history.last.number}, {count} architecture{'s' * (count != 1)}"


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
    _scatter(axes, panel.evaluated, 9, EVALUATED, "evaluated")
    _scatter(axes, [place for _, place in panel.population], 18, POPULATION, "last population")
    axes.plot(*_split(panel.steps), color=FRONT, linewidth=1.1, alpha=0.55)
    _scatter(axes, [place for _, place in panel.front], 34, FRONT, "front", edgecolors="white", linewidths=0.7)
    if panel.baselines:
        places = [place for _, place in panel.baselines]
        _scatter(axes, places, 44, BASELINE, "named architecture", marker="D", edgecolors="white", linewidths=0.7)
    for title, (x, y) in panel.baselines:
        side = {"ha": "right", "xytext": (-7, 5)} if x > 0.6 else {"ha": "left", "xytext": (7, 5)}
        axes.annotate(title, (x, y), textcoords="offset points", fontsize=8, color=BASELINE, **side)


def _scatter(axes, places: list[tuple[float, float]], size: float, color: str, label: str, **style) -> None:
    axes.scatter(*_split(places), s=size, color=color, label=label, zorder=3, **({"linewidths": 0} | style))


def _split(places: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in places], [y for _, y in places]
