"""Small curves side by side: what a training logged, step by step."""

# matplotlib leaves its keyword arguments untyped.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from cai.report.drawing import Draw, Palette
from cai.report.plots import colours, quiet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_POINTS = 240
"""Longer curves are drawn by the means of neighbouring steps."""


Points = Sequence[tuple[float, float | None]]


class Panel(NamedTuple):
    """One of several small curves.

    Args:
        title: what it shows.
        runs: points of each run; an unknown value is None.
        bands: lower and upper ends of their intervals, likewise; None if they are not known.
    """

    title: str
    runs: Sequence[Points]
    bands: tuple[Sequence[Points], Sequence[Points]] | None = None


def curves(panels: Sequence[Panel], by: str) -> Draw:
    """Small curves, two in a row.

    Args:
        panels: one at least.
        by: name of what is on the x axis: "step".
    """

    def draw(figure: Figure, palette: Palette) -> None:
        rows = math.ceil(len(panels) / 2)
        grid = figure.subplots(rows, 2, squeeze=False).flatten().tolist()
        for axes, panel in zip(grid, panels, strict=False):
            for lows, highs, colour in zip(
                *(panel.bands or ((), ())), colours(palette), strict=False
            ):
                low, high = thinned(lows), thinned(highs)
                ends: Any = ([x for x, _ in low], [y for _, y in low], [y for _, y in high])
                axes.fill_between(*ends, color=colour, alpha=0.18, linewidth=0)
            for run, colour in zip(panel.runs, colours(palette), strict=False):
                points = thinned(run)
                marker = "o" if len(points) < 2 else None
                xs, ys = [x for x, _ in points], [y for _, y in points]
                axes.plot(xs, ys, color=colour, linewidth=1.6, marker=marker)
            values = {y for run in panel.runs for _, y in run if y is not None}
            if len(values) == 1 and panel.bands is None:
                axes.set_yticks([*values])  # Around a constant, matplotlib's ticks say nothing.
            axes.set_title(panel.title, fontsize=11, loc="left")
            quiet(axes)
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        for axes in grid[max(len(panels) - 2, 0) : len(panels)]:
            axes.set_xlabel(by)

    return draw


def thinned(points: Points) -> list[tuple[float, float]]:
    """At most `MOST_POINTS` points: means of neighbours; unknown values leave a gap (NaN)."""
    size = math.ceil(len(points) / MOST_POINTS) or 1
    chunks = [points[start : start + size] for start in range(0, len(points), size)]
    return [(_mean([x for x, _ in one]), _mean([y for _, y in one])) for one in chunks]


def _mean(values: Sequence[float | None]) -> float:
    known = [one for one in values if one is not None]
    return math.fsum(known) / len(known) if known else math.nan
