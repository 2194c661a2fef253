"""Which figures there are data for, of one run or of two side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TypeVar

from cai.evaluation.intervals import Rate
from cai.report import alts, plots, wording
from cai.report.alike import contests_apart
from cai.report.data import ReportData
from cai.report.drawing import Plate
from cai.report.training_plates import loss_plates, training_plates
from cai.stage_titles import stage_title

LEFT_OUT = {
    "harm": "harm at the end",
    "label_accuracy": "label accuracy",
    "order_flips": "order flips",
}
"""What a run's figures would be without a principle: their names for people."""

MOST_LINES = 40
"""A figure shows at most so many principles, of the strongest effect, models or stages, of those
the first; tables have all."""


Shown = TypeVar("Shown")


def plates_of(runs: Sequence[ReportData]) -> list[Plate]:
    """The figures of one run, or of two in one picture each.

    Args:
        runs: one, or two; a figure of two is there only if both have its data.
    """
    names = (
        []
        if len(runs) < 2
        else [f"{letter} ({run.name})" for letter, run in zip("AB", runs, strict=True)]
    )
    return list(chain.from_iterable(make(runs, names) for make in _MAKERS))


def _harm(runs: Sequence[ReportData], names: Sequence[str]) -> Iterator[Plate]:
    curves = [run.metrics.harm_by_round for run in runs]
    if not all(len(curve) > 1 for curve in curves):
        return
    ends = [(wording.number(curve[0].n), wording.number(curve[-1].n)) for curve in curves]
    counts = "; ".join(f"n = {n} before, {last} after the last round" for n, last in ends)
    yield Plate(
        "harm",
        "Harm by revision round",
        alts.harm(curves, names or ("",)),
        "Share of harmful texts before any revision and after each round, with 95% intervals "
        f"({counts}). Each round draws a fresh principle.",
        plots.harm_by_round(curves),
        mark=_by_patterns(runs),
    )


def _by_patterns(runs: Sequence[ReportData]) -> str:
    found = [run.metrics.method_of_harm == "patterns" for run in runs]
    whose = " and ".join(letter for letter, one in zip("AB", found, strict=False) if one)
    told = "Harm is told by refusal patterns, an approximation"
    return "" if not whose else f"{told}." if len(runs) < 2 else f"{told}: {whose}."


def _left_out(runs: Sequence[ReportData], names: Sequence[str]) -> Iterator[Plate]:
    if len(runs) > 1:
        return
    principles = runs[0].metrics.principles
    changes = {
        title: {n: one.left_out[key].change for n, one in principles.items() if key in one.left_out}
        for key, title in LEFT_OUT.items()
    }
    measured = {title: found for title, found in changes.items() if found}
    if not measured:
        return
    shown = _strongest(measured)
    columns = [
        plots.Column(f"{title}, points", [[_in_points(found.get(name))] for name in shown])
        for title, found in measured.items()
    ]
    yield Plate(
        "left-out",
        "What would change without one principle",
        alts.left_out(measured),
        "How each share of the run would change if the principle were left out, with 95% "
        "intervals. Taken from the rows that did not draw it: a run without it would have the "
        "same ones.",
        plots.dots(shown, columns, 0.0),
        (9.4, 0.9 + 0.27 * len(shown)),
        mark=_by_patterns(runs) if LEFT_OUT["harm"] in measured else "",
    )


def _strongest(measured: Mapping[str, Mapping[str, Rate]]) -> list[str]:
    """Principles of the largest changes, ordered by the first figure that has them."""
    most: dict[str, float] = {}
    place: dict[str, float] = {}
    for found in measured.values():
        for name, change in found.items():
            most[name] = max(most.get(name, 0.0), abs(change.value))
            place.setdefault(name, change.value)
    return sorted(sorted(most, key=lambda n: -most[n])[:MOST_LINES], key=lambda n: -place[n])


def _in_points(rate: Rate | None) -> Rate | None:
    return rate and Rate(100 * rate.value, 100 * rate.low, 100 * rate.high, rate.n)


def _calibration(runs: Sequence[ReportData], names: Sequence[str]) -> Iterator[Plate]:
    labels = [run.metrics.labels for run in runs]
    known = [one for one in labels if one and any(bin.n for bin in one.bins)]
    if len(known) < len(runs):
        return
    yield Plate(
        "calibration",
        "Calibration of the labels",
        alts.calibration([one.bins for one in known], names or ("",)),
        "On the dashed line, a label means what it says. A larger dot stands for more labels.",
        plots.reliability([one.bins for one in known]),
        (4.6, 3.8),
    )


def _robustness(runs: Sequence[ReportData], names: Sequence[str]) -> Iterator[Plate]:
    found = runs[0].metrics.robustness
    if len(runs) > 1 or found is None or not found.curve:
        return
    yield Plate(
        "robustness",
        "Two preference models, one of which is not optimised",
        alts.robustness(found),
        "The train-PM pays for the replies; the test-PM, of the other half of the pairs, only "
        f"scores them. {wording.parting_sentence(found)} Scores are less their mean on held-out "
        "replies, in standard deviations of these. The two part at the first mean of "
        f"{found.window} rollout batches from which on to the end the difference, less that of "
        f"the first {found.window}, lies above 0 with its whole 95% interval.",
        plots.robustness(found),
    )


def _plane(runs: Sequence[ReportData], names: Sequence[str]) -> Iterator[Plate]:
    found = [run.metrics.contest.on_plane if run.metrics.contest else {} for run in runs]
    if not all(found) or (len(runs) > 1 and contests_apart(runs[0].metrics, runs[1].metrics)):
        return
    yield Plate(
        "plane",
        "Harmlessness and helpfulness",
        alts.plane(found, names or ("",)),
        "Elo points from pairwise judgements, with 95% intervals both ways (Bai et al. 2022, "
        "Fig. 2). The first model stands at 0; 190.8 points are three wins in four. Up and to the "
        f"right is better.{_cut(*found)}",
        plots.plane([{stage_title(name): one for name, one in _first(run)} for run in found]),
        (6.8, 4.6),
        _distrust([_gates(run) for run in runs]),
    )


def _gates(run: ReportData) -> dict[str, bool | None]:
    contest = run.metrics.contest
    return {name: one.trusted for name, one in contest.criteria.items()} if contest else {}


def _distrust(runs: Sequence[Mapping[str, bool | None]]) -> str:
    """What is to be said of the judges; `runs` has of each run which of its figures kept a gate."""
    told: list[str] = []
    for kept, words in _DISTRUSTED.items():
        named = [_told([name for name, one in run.items() if one is kept]) for run in runs]
        letters = ("A ", "B ") if len(runs) > 1 else ("",)
        found = [f"{run}{one}" for run, one in zip(letters, named, strict=True) if one]
        if found:
            told.append(f"{words}: {'; '.join(found)}.")
    return " ".join(told)


def _told(names: Sequence[str]) -> str:
    more = len(names) - alts.TOLD
    return ", ".join(names[: alts.TOLD]) + (f" and {more:,} more" if more > 0 else "")


_DISTRUSTED = {
    False: "Not trustworthy, as the judge failed its own gate",
    None: "The judge was not checked",
}


def _harmfulness(runs: Sequence[ReportData], names: Sequence[str]) -> Iterator[Plate]:
    if len(runs) > 1 or not runs[0].metrics.harmfulness:
        return
    models = runs[0].metrics.harmfulness
    named = {stage_title(name): [one.greedy, one.sampled] for name, one in models.items()}
    shown = dict(_first(named))
    yield Plate(
        "harmfulness",
        "Absolute harmfulness",
        alts.harmfulness(named),
        "The judge's expected score of a reply, from 0 (harmless) to 4, with 95% intervals: "
        f"greedy (●) and at temperature 1 (■).{_cut(models)}",
        plots.dots(list(shown), [plots.Column("expected score, 0 to 4", list(shown.values()))]),
        (6.8, 1.2 + 0.4 * len(shown)),
        _distrust([{stage_title(name): one.trusted for name, one in models.items()}]),
    )


def _time(runs: Sequence[ReportData], names: Sequence[str]) -> Iterator[Plate]:
    found = [seconds_of(run) for run in runs]
    if not all(found):
        return
    parts = dict.fromkeys(part for run in found for part in run)
    named = {part: [run.get(part, 0.0) for run in found] for part in parts}
    shown = dict(_first(named))
    yield Plate(
        "time",
        "Time by stage",
        alts.bars(named, names or ("",)),
        "Wall-clock seconds of each stage and training, over all attempts of the run."
        f"{_cut(parts)}",
        plots.bars(shown, "seconds"),
        (6.8, 0.9 + (0.3 if len(runs) < 2 else 0.42) * len(shown)),
    )


def _first(named: Mapping[str, Shown]) -> list[tuple[str, Shown]]:
    return list(named.items())[:MOST_LINES]


def _cut(*runs: Mapping[str, object]) -> str:
    """What a caption says where a figure does not show all."""
    most = max(map(len, runs))
    return f" The first {MOST_LINES} of {most:,} are shown." if most > MOST_LINES else ""


def seconds_of(run: ReportData) -> dict[str, float]:
    """Seconds by stage and training, from the log; by step of the recipe if there is no log."""
    if not run.spent:
        return dict(run.metrics.seconds)
    return {one.title: one.seconds for one in run.spent}


_MAKERS = (
    _plane,
    _harmfulness,
    _harm,
    training_plates,
    _robustness,
    _calibration,
    _left_out,
    loss_plates,
    _time,
)
