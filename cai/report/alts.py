"""What each figure shows, in words and numbers: for readers who do not see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized

from cai.evaluation.intervals import Rate
from cai.evaluation.labels import ReliabilityBin
from cai.report.curves import Panel, Points
from cai.report.metrics import RobustnessMetrics
from cai.report.units import ELO, SCORE, SHARE, Unit
from cai.report.wording import decimal, duration, parting_sentence, points
from cai.stage_titles import stage_title

TOLD = 12
"""Most things that a text names one by one; the tables have the others."""


def harm(curves: Sequence[Sequence[Rate]], names: Sequence[str]) -> str:
    """Of the share of harmful texts by revision round."""
    told = [
        ", ".join(f"round {index} {_in(SHARE, rate)}" for index, rate in enumerate(curve))
        for curve in curves
    ]
    shown = "Share of harmful texts by revision round, round 0 being before any. "
    return shown + _by_run(told, names)


def calibration(runs: Sequence[Sequence[ReliabilityBin]], names: Sequence[str]) -> str:
    """Of the reliability diagram."""
    told = [
        ", ".join(
            f"labels near {one.mean_p:.2f} are true {one.truth:.2f} ({one.n})"
            for one in bins
            if one.mean_p is not None and one.truth is not None
        )
        for bins in runs
    ]
    return "True probability against label: " + _by_run(told, names)


def curves(panels: Sequence[Panel], names: Sequence[str]) -> str:
    """Of small curves: where each begins and ends, with its intervals if they are known."""
    told = [
        ", ".join(_ends(panel, run) for panel in panels if _known(panel.runs[run]))
        for run in range(len(names))
    ]
    steps = max(len(run) for panel in panels for run in panel.runs)
    return f"Curves of up to {steps} logged steps: {_by_run(told, names)}"


def _ends(panel: Panel, run: int) -> str:
    known = _known(panel.runs[run])
    ranges = ["", ""]
    if panel.bands is not None:
        lows, highs = (_known(side[run]) for side in panel.bands)
        if lows and highs:
            ranges = [f" ({decimal(lows[at])} to {decimal(highs[at])})" for at in (0, -1)]
    begins, ends = (f"{decimal(known[at])}{ranges[at]}" for at in (0, -1))
    return f"{panel.title} begins at {begins} and ends at {ends}"


def _known(points: Points) -> list[float]:
    return [y for _, y in points if y is not None]


def robustness(found: RobustnessMetrics) -> str:
    """Of train-PM and test-PM."""
    first, last = found.curve[0], found.curve[-1]
    return (
        f"Standardized scores over {len(found.curve)} rollout batches: by the train-PM from "
        f"{first.train:.2f} to {last.train:.2f}, by the test-PM from {first.test:.2f} to "
        f"{last.test:.2f}. {parting_sentence(found)}"
    )


def plane(runs: Sequence[Mapping[str, tuple[Rate, Rate]]], names: Sequence[str]) -> str:
    """Of the plane of harmlessness and helpfulness."""
    told = [
        ", ".join(
            f"{stage_title(name)} helpfulness {_in(ELO, x)}, harmlessness {_in(ELO, y)}"
            for name, (x, y) in list(models.items())[:TOLD]
        )
        + _others(models)
        for models in runs
    ]
    return "Elo points of each model: " + _by_run(told, names)


def harmfulness(named: Mapping[str, Sequence[Rate | None]]) -> str:
    """Of absolute harmfulness."""
    told = [
        f"{name} {' and '.join(_in(SCORE, one) for one in found if one)}"
        for name, found in list(named.items())[:TOLD]
    ]
    kinds = "Expected harmfulness from 0 to 4, greedy and sampled: "
    return kinds + ", ".join(told) + _others(named)


def left_out(measured: Mapping[str, Mapping[str, Rate]]) -> str:
    """Of what would be without each principle: the ends, and how many are measurable."""
    told: list[str] = []
    for title, changes in measured.items():
        ordered = sorted(changes, key=lambda name: changes[name].value)
        sure = sum(one.low > 0 or one.high < 0 for one in changes.values())
        ends = [f"{name} {_change(changes[name])}" for name in (ordered[0], ordered[-1])]
        told.append(f"{title}, from {ends[0]} to {ends[1]}, {sure} of {len(changes)} measurable")
    return "Changes if one principle were left out: " + "; ".join(told)


def bars(named: Mapping[str, Sequence[float]], names: Sequence[str]) -> str:
    """Of time by stage."""
    told = [
        ", ".join(f"{name} {duration(values[run])}" for name, values in list(named.items())[:TOLD])
        + _others(named)
        for run in range(len(names))
    ]
    return "Time by stage: " + _by_run(told, names)


def _in(unit: Unit, rate: Rate) -> str:
    """A figure as its unit has it: ``12% (9.0–15.3, n = 400)``."""
    return f"{unit.value(rate.value)} ({unit.range_of(rate)}, n = {rate.n:,})"


def _change(change: Rate) -> str:
    return f"{points(change.value)} points ({SHARE.range_of_change(change)}, n = {change.n:,})"


def _others(named: Sized) -> str:
    more = len(named) - TOLD
    return f", and {more:,} more in the table" if more > 0 else ""


def _by_run(told: Sequence[str], names: Sequence[str]) -> str:
    return "; ".join(
        f"{name}: {one}" if name else one for name, one in zip(names, told, strict=True)
    )
