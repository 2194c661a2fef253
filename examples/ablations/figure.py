"""The figure of an ablation: its panels side by side, drawn from its results alone.

A big mark is the mean of the seeds, its bar the interval over them. A small mark is one seed, its
bar the interval within it.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from examples.ablations.records import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#1f6feb", "#d9480f", "#2b8a3e", "#862e9c", "#495057", "#c2255c")
MARKS = ("o", "s", "^", "D", "v", "P")
SETTINGS: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "ablations",
    "figure.facecolor": "white",
}
SHARES = (-0.03, 1.03)
ENDS = ("low", "high")
Points = Sequence[Mapping[str, Any]]
Rates = Sequence[Mapping[str, Any]]
Over = tuple[str, ...]


def draw(results: Mapping[str, Any], panels: Sequence[Panel], kind: str = "svg") -> bytes:
    """The figure as a file's content; the same for the same results.

    Args:
        results: as `measure` gives them.
        panels: how they are to be drawn.
        kind: svg or png.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(4.6 * len(panels), 3.9), layout="constrained")
        places = figure.subplots(1, len(panels), squeeze=False)[0]
        for panel, found, axes in zip(panels, results["panels"], places, strict=True):
            if panel.frontier:
                drawn = _frontier if len(panel.frontier) == 2 else _paths
                drawn(panel, panel.frontier, found, axes)
            else:
                _lines(panel, found["points"], axes)
            axes.set_title(panel.title, fontsize=10, loc="left")
        file = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {}
        figure.savefig(file, format=kind, dpi=150, metadata=metadata)
    return file.getvalue()


def _lines(panel: Panel, points: Points, axes: Axes) -> None:
    places = list(dict.fromkeys(point["at"] for point in points))
    lines = list(dict.fromkeys(point["line"] for point in points))
    for number, line in enumerate(lines):
        own = [point for point in points if point["line"] == line]
        shift = 0.16 * (number - (len(lines) - 1) / 2)
        x = [places.index(point["at"]) + shift for point in own]
        _seeds(axes, x, own, COLOURS[number])
        mean = [point["over_seeds"] for point in own]
        axes.errorbar(
            x,
            [one["value"] for one in mean],
            yerr=_bars(mean),
            color=COLOURS[number],
            marker=MARKS[number],
            linestyle="-" if panel.joined else "none",
            linewidth=1.2,
            capsize=3,
            label=line,
        )
    axes.set_xticks(range(len(places)), [textwrap.fill(place, 12) for place in places])
    axes.set_xlabel(panel.x)
    axes.set_ylabel(panel.y if len(lines) > 1 else f"{lines[0]}, {panel.y}")
    axes.set_ylim(*(SHARES if panel.shares else _around(points)))
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=8)


def _seeds(axes: Axes, x: Sequence[float], points: Points, own: str) -> None:
    """Each seed beside the mean, faint."""
    for place, point in zip(x, points, strict=True):
        seeds = list(point["seeds"].values())
        beside = [place + 0.03 * (number + 1) for number in range(len(seeds))]
        axes.errorbar(
            beside,
            [one["value"] for one in seeds],
            yerr=_bars(seeds),
            color=own,
            linestyle="none",
            marker=".",
            markersize=3,
            elinewidth=0.8,
            alpha=0.45,
        )


def _by_place(points: Points) -> dict[str, dict[str, Any]]:
    """The points of each place, by their line."""
    places: dict[str, dict[str, Any]] = {}
    for point in points:
        places.setdefault(point["at"], {})[point["line"]] = point
    return places


def _paths(panel: Panel, over: Over, found: Mapping[str, Any], axes: Axes) -> None:
    """Several lines over the first one, each from place to place, and the marks of the seeds.

    Without bars: they would lie over each other.
    """
    first, *others = over
    places = list(_by_place(found["points"]).values())
    for number, line in enumerate(others):
        for seed in places[0][first]["seeds"]:
            axes.plot(
                [both[first]["seeds"][seed]["value"] for both in places],
                [both[line]["seeds"][seed]["value"] for both in places],
                color=COLOURS[number],
                linewidth=0.6,
                alpha=0.35,
            )
        axes.plot(
            [both[first]["over_seeds"]["value"] for both in places],
            [both[line]["over_seeds"]["value"] for both in places],
            color=COLOURS[number],
            marker=MARKS[number],
            linewidth=1.4,
            label=line,
        )
    for seed, mark in found["marks"].items():
        if mark is not None:
            told = f"they part in seed {seed}"
            axes.axvline(mark["sqrt_kl"], color="#495057", linestyle=":", label=told)
    axes.set_xlabel(panel.x)
    axes.set_ylabel(panel.y)
    axes.legend(frameon=False, fontsize=8)


def _frontier(panel: Panel, over: Over, found: Mapping[str, Any], axes: Axes) -> None:
    """One line over another, with the name of each place."""
    first, second = over
    for number, (place, both) in enumerate(_by_place(found["points"]).items()):
        x, y = ([both[line]["over_seeds"]] for line in over)
        left, up = (list(both[line]["seeds"].values()) for line in over)
        _crosses(axes, left, up, COLOURS[number], marker=".", markersize=3, alpha=0.45)
        told = f"{panel.x} {place}".strip()
        _crosses(axes, x, y, COLOURS[number], marker=MARKS[number], capsize=3, label=told)
    axes.set_xlabel(first)
    axes.set_ylabel(second)
    for line, limited in ((first, axes.set_xlim), (second, axes.set_ylim)):
        limited(*_around([point for point in found["points"] if point["line"] == line]))
    axes.locator_params(nbins=5)
    axes.legend(frameon=False, fontsize=8)


def _crosses(axes: Axes, x: Rates, y: Rates, own: str, **look: Any) -> None:
    """Marks with the intervals of both their places."""
    axes.errorbar(
        [one["value"] for one in x],
        [one["value"] for one in y],
        xerr=_bars(x),
        yerr=_bars(y),
        color=own,
        linestyle="none",
        elinewidth=0.8,
        **look,
    )


def _bars(rates: Rates) -> list[list[float]]:
    """How far the ends of the intervals lie from their values."""
    below = [one["value"] - one["low"] for one in rates]
    above = [one["high"] - one["value"] for one in rates]
    return [below, above]


def _around(points: Points) -> tuple[float, float]:
    """Room for what the seeds measured; an interval of few seeds may be cut off."""
    ends = [one[end] for point in points for one in point["seeds"].values() for end in ENDS]
    low, high = min(ends), max(ends)
    room = 0.25 * (high - low) or 0.1
    return low - room, high + room
