"""The figures of an ablation over its seeds, as they are committed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from cai.errors import Fault, InputError
from cai.evaluation.intervals import Rate
from examples.ablations.records import Ablation, Measured, Panel
from examples.ablations.runs import Workplace, commit, measured, note_of

T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Student's 97.5 % quantile for the mean of so many seeds."""

Series = dict[tuple[str, str], dict[int, Rate]]
"""Figures of a panel: by line and place, by seed."""


@dataclass(frozen=True)
class Read:
    """What was read for a panel.

    Args:
        series: its figures.
        marks: places to mark, by seed, None for a seed that has none; empty if none is asked for.
    """

    series: Series = field(default_factory=dict[tuple[str, str], dict[int, Rate]])
    marks: dict[str, Mapping[str, Any] | None] = field(
        default_factory=dict[str, Mapping[str, Any] | None]
    )


def measure(
    name: str, ablation: Ablation, seeds: Sequence[int], place: Workplace
) -> dict[str, Any]:
    """Make the runs of an ablation that are missing, and read its figures.

    Args:
        name: of the ablation.
        ablation: what to run and to read.
        seeds: of the recipe, each a whole repetition of the run.
        place: where the runs are.
    """
    found = [Read() for _ in ablation.panels]
    plain: dict[str, Any] = {}
    made: dict[str, dict[str, Any]] = {one.name: {} for one in ablation.variants}
    for seed in seeds:
        for run in measured(ablation, seed, place):
            plain[str(seed)] = note_of(run.plain)
            made[run.variant.name][str(seed)] = note_of(run.folder)
            for panel, read in zip(ablation.panels, found, strict=True):
                _read(panel, run, seed, read)
    return {
        "name": name,
        "question": ablation.question,
        "source": ablation.source,
        "command": place.command,
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": commit(),
        "seeds": list(seeds),
        "panels": [_panel(panel, read) for panel, read in zip(ablation.panels, found, strict=True)],
        "plain": plain,
        "runs": made,
    }


def reworded(file: Path, ablation: Ablation) -> dict[str, Any]:
    """Results that are stored, in the table's words of today; their figures stay.

    Args:
        file: as it was written.
        ablation: has the question, its source, and the titles and axes of the panels.

    Raises:
        InputError: there is no such file, or its panels are not those of the table.
    """
    try:
        results = orjson.loads(file.read_bytes())
    except OSError as error:
        raise InputError(file, [Fault(f"cannot be read: {error.strerror}")]) from error
    if len(results["panels"]) != len(ablation.panels):
        fault = (
            f"has {len(results['panels'])} panels, the table {len(ablation.panels)}; run it anew"
        )
        raise InputError(file, [Fault(fault)])
    panels = [
        {**found, "title": panel.title, "x": panel.x, "y": panel.y}
        for panel, found in zip(ablation.panels, results["panels"], strict=True)
    ]
    words = {"question": ablation.question, "source": ablation.source}
    return {**results, **words, "panels": panels}


def commits_of(results: Mapping[str, Any]) -> list[str]:
    """The commits that runs of an ablation were made by, shortened as pages name them."""
    notes = [note for by_seed in results["runs"].values() for note in by_seed.values()]
    named = [note["commit"].partition("-") for note in notes if note.get("commit")]
    return sorted({f"{number[:7]}{dash}{changed}" for number, dash, changed in named})


def over_seeds(values: Sequence[float]) -> Rate:
    """The mean of some seeds, with the interval of Student's t.

    It says how far another seed's run may lie, prompts, samples and trainings included. Seeds that
    agree give no width: then the interval within each seed says more.

    Args:
        values: one of each seed; a single one stands without a width.
    """
    n, mean = len(values), statistics.fmean(values)
    half = T[n] * statistics.stdev(values) / math.sqrt(n) if n > 1 else 0.0
    return Rate(mean, mean - half, mean + half, n)


def table(results: Mapping[str, Any]) -> str:
    """The figures as lines of text: mean over the seeds, its interval, and each seed's value."""
    lines: list[str] = []
    for panel in results["panels"]:
        lines.append(f"{panel['title']} ({panel['y']}, by {panel['x']})")
        for point in panel["points"]:
            mean, seeds = point["over_seeds"], point["seeds"].values()
            told = f"{mean['value']:.3f} ({mean['low']:.3f} to {mean['high']:.3f})"
            each = ", ".join(f"{one['value']:.3f}" for one in seeds)
            lines.append(f"  {point['line']:28} {point['at']:22} {told:28} {each}")
    return "\n".join(lines) + "\n"


def _read(panel: Panel, run: Measured, seed: int, read: Read) -> None:
    if panel.variants and run.variant.name not in panel.variants:
        return
    for line, at, rate in panel.read(run):
        read.series.setdefault((line, at), {})[seed] = rate
    if panel.mark is not None:
        read.marks[str(seed)] = panel.mark(run)


def _panel(panel: Panel, read: Read) -> dict[str, Any]:
    marks = {"marks": read.marks} if panel.mark is not None else {}
    return {
        "title": panel.title,
        "x": panel.x,
        "y": panel.y,
        **marks,
        "points": [_point(line, at, read.series) for line, at in read.series],
    }


def _point(line: str, at: str, series: Series) -> dict[str, Any]:
    """A point; `change` is how far it is from the first of its line, seed by seed."""
    here = series[line, at]
    first = next(by_seed for (other, _), by_seed in series.items() if other == line)
    apart = [rate.value - first[seed].value for seed, rate in here.items() if seed in first]
    return {
        "line": line,
        "at": at,
        "over_seeds": over_seeds([rate.value for rate in here.values()]).to_json(),
        "change": over_seeds(apart).to_json(),
        "seeds": {str(seed): rate.to_json() for seed, rate in here.items()},
    }
