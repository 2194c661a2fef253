"""What each figure draws, of one run or of two: the second run has the second colour and a square.

Every function gives what `cai.report.drawing` puts on an empty matplotlib figure.
"""

# matplotlib leaves its keyword arguments untyped.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from cai.evaluation.intervals import Rate
from cai.evaluation.labels import ReliabilityBin
from cai.report.drawing import Draw, Palette
from cai.report.metrics import RobustnessMetrics
from cai.terminal import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "os"
"""Of the first run and of the second: colour alone does not tell them apart."""

LONGEST_NAME = 36
"""Names of models and principles are cut here in a figure; tables have them whole."""


def harm_by_round(curves: Sequence[Sequence[Rate]]) -> Draw:
    """Harmful share against revision round, with 95 % intervals."""

    def draw(figure: Figure, palette: Palette) -> None:
        axes = figure.subplots()
        for curve, colour, marker in zip(curves, colours(palette), MARKERS, strict=False):
            values, spread = [one.value for one in curve], _spread(curve)
            style: dict[str, Any] = {"elinewidth": 1.4, "capsize": 3, "marker": marker}
            axes.errorbar(range(len(curve)), values, yerr=spread, color=colour, **style)
        longest = max(len(curve) for curve in curves)
        axes.set_xticks(range(longest), ["before", *(str(n) for n in range(1, longest))])
        axes.set_xlim(-0.3, longest - 0.7)
        axes.set_xlabel("revision round")
        axes.set_ylabel("share of harmful texts")
        axes.set_ylim(-0.03, 1.03)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
        quiet(axes)

    return draw


def robustness(found: RobustnessMetrics) -> Draw:
    """Scores by train-PM and test-PM against √KL, and a line where they part (HH-RLHF, Fig. 4)."""

    def draw(figure: Figure, palette: Palette) -> None:
        axes = figure.subplots()
        curve = sorted(found.curve, key=lambda one: one.sqrt_kl)
        distances = [one.sqrt_kl for one in curve]
        dots: dict[str, Any] = {"markersize": 3.5, "linewidth": 1.2}
        scores = {"train-PM": [one.train for one in curve], "test-PM": [one.test for one in curve]}
        named = zip(scores.items(), colours(palette), MARKERS, strict=True)
        for (name, values), colour, marker in named:
            axes.plot(distances, values, f"{marker}-", color=colour, label=name, **dots)
        if found.parting is not None:
            dashes: dict[str, Any] = {"linewidth": 1.2, "linestyle": (0, (4, 3))}
            axes.axvline(found.parting.sqrt_kl, color=palette.ink, **dashes)
        axes.set_xlabel("√KL from SL-CAI, √nats")
        axes.set_ylabel("standardized score")
        axes.legend()
        quiet(axes)

    return draw


def reliability(runs: Sequence[Sequence[ReliabilityBin]]) -> Draw:
    """The reliability diagram: truth against label, the area of a dot as the number of labels."""

    def draw(figure: Figure, palette: Palette) -> None:
        axes = figure.subplots()
        dashes: dict[str, Any] = {"linewidth": 1.4, "linestyle": (0, (4, 3))}
        axes.plot([0, 1], [0, 1], color=palette.faint, **dashes)
        for bins, colour, marker in zip(runs, colours(palette), MARKERS, strict=False):
            _reliability_curve(axes, bins, colour, marker)
        axes.set_xlim(-0.04, 1.04)
        axes.set_ylim(-0.04, 1.04)
        ticks = [0, 0.25, 0.5, 0.75, 1]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.grid(visible=True)
        axes.set_xlabel("label, p(A better)")
        axes.set_ylabel("true p(A better)")

    return draw


class Column(NamedTuple):
    """Dots with their intervals, a line for each name.

    Args:
        label: of the x axis.
        rates: what stands on each line; one for each run or kind, None where there is nothing.
    """

    label: str
    rates: Sequence[Sequence[Rate | None]]


def dots(names: Sequence[str], columns: Sequence[Column], line: float | None = None) -> Draw:
    """One line a name, from the top, and beside each other one panel a column.

    Args:
        names: of the lines.
        columns: what is shown of each.
        line: where a dashed line stands, such as no change; None for none.
    """

    def draw(figure: Figure, palette: Palette) -> None:
        row = figure.subplots(1, len(columns), squeeze=False, sharey=True).flatten().tolist()
        for axes, column in zip(row, columns, strict=True):
            if line is not None:
                axes.axvline(line, color=palette.ink, linewidth=1, linestyle=(0, (4, 3)))
            for place, rates in enumerate(column.rates):
                _dots(axes, rates, place, palette)
            axes.set_xlabel(column.label)
            axes.grid(visible=True, axis="x")
            axes.tick_params(length=0)
            axes.spines["left"].set_visible(False)
        row[0].set_yticks(range(len(names)), [shortened(name) for name in names])
        row[0].set_ylim(len(names) - 0.4, -0.6)

    return draw


LEAST_SPAN = 100.0
"""Elo points that an axis of the plane shows at least: a win share of 50 to 64 %."""


def plane(runs: Sequence[Mapping[str, tuple[Rate, Rate]]]) -> Draw:
    """Harmlessness Elo against helpfulness Elo, with error bars both ways (CAI, Fig. 2).

    Args:
        runs: of each run, helpfulness and harmlessness of every model.
    """

    def draw(figure: Figure, palette: Palette) -> None:
        axes = figure.subplots()
        axes.axhline(0, color=palette.faint, linewidth=1)
        axes.axvline(0, color=palette.faint, linewidth=1)
        for models, colour, marker in zip(runs, colours(palette), MARKERS, strict=False):
            middle = fmean(x.value for x, _ in models.values())
            for place, (name, (x, y)) in enumerate(models.items()):
                up, left = place % 2 == 0, x.value > middle
                spread = {"xerr": _spread([x]), "yerr": _spread([y])}
                style: dict[str, Any] = {"marker": marker, "elinewidth": 1.2, "capsize": 2}
                axes.errorbar(x.value, y.value, **spread, color=colour, **style)
                axes.annotate(
                    shortened(name),
                    (x.value, y.value),
                    textcoords="offset points",
                    xytext=(-7 if left else 7, 6 if up else -6),
                    ha="right" if left else "left",
                    va="bottom" if up else "top",
                )
        axes.set_xlabel("helpfulness, Elo points")
        axes.set_ylabel("harmlessness, Elo points")
        axes.margins(0.14)
        axes.set_xlim(*_at_least(LEAST_SPAN, axes.get_xlim()))
        axes.set_ylim(*_at_least(LEAST_SPAN, axes.get_ylim()))
        axes.grid(visible=True)
        axes.tick_params(length=0)

    return draw


def _at_least(span: float, ends: tuple[float, float]) -> tuple[float, float]:
    """The ends of an axis, set apart if they are too near: a few points are no distance."""
    more = max(0.0, span - (ends[1] - ends[0])) / 2
    return ends[0] - more, ends[1] + more


def bars(named: Mapping[str, Sequence[float]], label: str) -> Draw:
    """One bar a name and run, from the top."""

    def draw(figure: Figure, palette: Palette) -> None:
        axes = figure.subplots()
        runs = max(len(values) for values in named.values())
        height = 0.7 / runs
        for run, colour in zip(range(runs), colours(palette), strict=False):
            places = [place + (run - (runs - 1) / 2) * height for place in range(len(named))]
            axes.barh(places, [values[run] for values in named.values()], height, color=colour)
        axes.set_yticks(range(len(named)), [shortened(name) for name in named])
        axes.set_ylim(len(named) - 0.4, -0.6)
        axes.set_xlabel(label)
        axes.grid(visible=True, axis="x")
        axes.set_axisbelow(True)
        axes.tick_params(length=0)

    return draw


def shortened(name: str) -> str:
    """A name as a figure has it: one line of printable letters, cut where it is long."""
    line = printable(name)
    return line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 1]}…"


def _reliability_curve(
    axes: Axes, bins: Sequence[ReliabilityBin], colour: str, marker: str
) -> None:
    filled = [
        (one.mean_p, one.truth, one.n)
        for one in bins
        if one.mean_p is not None and one.truth is not None
    ]
    most = max((n for _, _, n in filled), default=1)
    axes.plot([p for p, _, _ in filled], [q for _, q, _ in filled], color=colour, linewidth=1.4)
    for p, truth, n in filled:
        axes.plot([p], [truth], marker, color=colour, markersize=4 + 9 * math.sqrt(n / most))


def _dots(axes: Axes, rates: Sequence[Rate | None], place: float, palette: Palette) -> None:
    shifts = [0.0] if len(rates) < 2 else [-0.14, 0.14]
    for one, shift, colour, marker in zip(rates, shifts, colours(palette), MARKERS, strict=False):
        if one is not None:
            style: dict[str, Any] = {"elinewidth": 1.4, "capsize": 2.5, "markersize": 5}
            axes.errorbar(
                one.value,
                place + shift,
                xerr=_spread([one]),
                color=colour,
                marker=marker,
                **style,
            )


def colours(palette: Palette) -> tuple[str, str]:
    """Of the first run and of the second."""
    return palette.first, palette.second


def _spread(rates: Sequence[Rate]) -> list[list[float]]:
    """How far each interval reaches below and above its value; never below 0 by rounding."""
    below = [max(one.value - one.low, 0.0) for one in rates]
    return [below, [max(one.high - one.value, 0.0) for one in rates]]


def quiet(axes: Axes) -> None:
    """Horizontal lines to read values by, and nothing else."""
    axes.grid(visible=True, axis="y")
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
