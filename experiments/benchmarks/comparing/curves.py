"""Hypervolume against tokens as a PNG: medians over seeds with their bootstrap intervals."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from comparing.intervals import bootstrap, median
from star.report.figure import GRID, INK, SOFT

COLORS = ("#0b66c3", "#c2500a", "#2a8f5b", "#8450b0", "#b8336a", "#8d97a5", "#a88400", "#1c2430", "#3aa6b9")
INCHES = (5.4, 4.2)  # of one panel


class Panel(NamedTuple):
    """A title and curves: hypervolumes (seeds, shares) by name."""

    title: str
    curves: dict[str, np.ndarray]


def draw(panels: list[Panel], trainings: int, path: Path) -> None:
    """Write one picture of all panels, with the budget of `trainings` full trainings on the horizontal axis."""
    assert all(len(panel.curves) <= len(COLORS) for panel in panels)
    figure = Figure(figsize=(INCHES[0] * len(panels), INCHES[1]), dpi=150, facecolor="white", layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False).flat, panels, strict=True):
        axes.set_title(panel.title, fontsize=11, color=INK, loc="left", fontweight="bold")
        _dress(axes)
        for (name, curves), color in zip(panel.curves.items(), COLORS, strict=False):
            intervals = np.array([bootstrap(median, column) for column in curves.T])
            tokens = trainings * np.arange(1, len(intervals) + 1) / len(intervals)
            axes.fill_between(tokens, intervals[:, 0], intervals[:, 2], color=color, alpha=0.15, linewidth=0)
            axes.plot(tokens, intervals[:, 1], color=color, linewidth=1.6, label=name)
        axes.set_xlabel("budget spent, in full trainings", size=10, color=INK)
        axes.legend(frameon=False, labelcolor=SOFT, fontsize=9, loc="lower right")
    figure.axes[0].set_ylabel("hypervolume of all trained to the end", size=10, color=INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": "star"})


def _dress(axes) -> None:
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, labelcolor=SOFT)
    for side in axes.spines.values():
        side.set_color(GRID)
