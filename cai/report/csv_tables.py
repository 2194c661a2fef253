"""All numbers of a run as tidy tables: one figure a line, with its interval where it has one."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from cai.evaluation.intervals import Rate
from cai.report.data import ReportData
from cai.report.policy_metrics import FIGURES, JudgedMetrics, StageMetrics
from cai.report.side_by_side import Figure, Group

MEASURE = ("value", "low", "high", "n")
"""The columns of a figure; a plain number has only the first."""


class Table(NamedTuple):
    """A table of a CSV file.

    Args:
        columns: their names.
        rows: one value a column; None for an empty cell.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def tables_of(run: ReportData, metrics: Mapping[str, Any]) -> dict[str, Table]:
    """The tables that a run has numbers for, by file name without its ending.

    Args:
        run: what its report shows.
        metrics: the content of its `metrics.json`, whole.
    """
    tables = {
        "numbers": Table(("path", *MEASURE), list(_numbers(metrics))),
        "stages": Table(("stage", "figure", *MEASURE, "method"), list(_stages(run))),
        "principles": Table(("principle", "figure", *MEASURE), list(_principles(run))),
        "calibration": Table(("low", "high", "mean_p", "truth", "n"), list(_calibration(run))),
        "elo": Table(("criterion", "model", *MEASURE, "trusted"), list(_elo(run))),
        "wins": Table(("criterion", "a", "b", "figure", *MEASURE, "trusted"), list(_wins(run))),
        "harmfulness": Table(("model", "figure", *MEASURE, "trusted"), list(_harmfulness(run))),
        "verdicts": Table(("stage", "figure", *MEASURE, "method", "trusted"), list(_verdicts(run))),
        "training": Table(("model", "step", "figure", "value"), list(_training(run))),
        "time": Table(_TIME, list(_time(run))),
        "rows": Table(("stage", "status", "n"), [(e.stage, e.status, e.n) for e in run.ended]),
    }
    return {name: table for name, table in tables.items() if table.rows}


def compared(groups: Sequence[Group]) -> Table:
    """Every headline figure of two runs, and what changed."""
    sides = ("a", "b", "change")
    columns = [*(f"{side}_{part}" for side in sides for part in MEASURE), "remarks"]
    remarks = {group.title: "; ".join(group.remarks) or None for group in groups}
    rows = [
        (
            group.title,
            line.name,
            *_measure(line.a),
            *_measure(line.b),
            *_measure(line.moved),
            remarks[group.title],
        )
        for group in groups
        for line in group.lines
    ]
    return Table(("group", "figure", *columns), rows)


def csv_text(table: Table) -> str:
    """A table as CSV (RFC 4180): commas, a head, quotes where they are needed."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(table.columns)
    writer.writerows(["" if cell is None else cell for cell in row] for row in table.rows)
    return out.getvalue()


_TRUSTED = {True: "true", False: "false", None: None}

_TIME = (
    *("part", "seconds", "calls_made", "calls_cached"),
    *("input_tokens", "output_tokens", "dollars"),
)


def _numbers(content: Any, path: str = "") -> Iterator[Sequence[object]]:
    """Every number of `metrics.json` by its path; a figure with an interval is one line."""
    if isinstance(content, bool):
        return
    if isinstance(content, int | float):
        yield path, content, None, None, None
    elif isinstance(content, Mapping):
        entries = cast("Mapping[str, Any]", content)
        if set(MEASURE) <= set(entries):
            yield (path, *(entries[name] for name in MEASURE))
            return
        for name, one in entries.items():
            yield from _numbers(one, f"{path}/{name}" if path else name)
    elif isinstance(content, list):
        for place, one in enumerate(cast("list[Any]", content)):
            yield from _numbers(one, f"{path}/{place}")


def _measure(figure: Figure) -> Sequence[object]:
    if isinstance(figure, Rate):
        return figure.value, figure.low, figure.high, figure.n
    return figure, None, None, None


def _stages(run: ReportData) -> Iterator[Sequence[object]]:
    for stage, found in run.metrics.ordered_stages.items():
        for figure, one in _shares(found):
            yield stage, figure, *_measure(one), found.method


def _shares(stage: StageMetrics) -> Iterator[tuple[str, Rate]]:
    """The shares of one policy's replies: of all, by family of harmful requests, by prompt set."""
    for title, (_, figure) in FIGURES.items():
        if (one := figure(stage)) is not None:
            yield _column(title), one
    for family, one in stage.by_family.items():
        yield f"harmful_compliance/{family}", one
    for name, shares in stage.by_set.items():
        for title, (_, figure) in FIGURES.items():
            if (one := figure(shares)) is not None:
                yield f"{_column(title)}/{name}", one


def _column(title: str) -> str:
    return title.lower().replace(" ", "_").replace("-", "_")


def _principles(run: ReportData) -> Iterator[Sequence[object]]:
    shares = ("revisions", "labels", "orders_agree", "truth_agrees", "others_agree", "turned")
    for name, found in run.metrics.principles.items():
        for figure in shares:
            if (one := getattr(found, figure)) is not None:
                yield name, figure, *_measure(one)
        for figure, one in found.left_out.items():
            yield name, f"{figure}_without", *_measure(one.without)
            yield name, f"{figure}_change", *_measure(one.change)


def _calibration(run: ReportData) -> Iterator[Sequence[object]]:
    labels = run.metrics.labels
    for one in labels.bins if labels else ():
        yield one.low, one.high, one.mean_p, one.truth, one.n


def _elo(run: ReportData) -> Iterator[Sequence[object]]:
    contest = run.metrics.contest
    for criterion, found in contest.criteria.items() if contest else ():
        for model, elo in found.elo.items():
            yield criterion, model, *_measure(elo), _TRUSTED[found.trusted]


def _wins(run: ReportData) -> Iterator[Sequence[object]]:
    contest = run.metrics.contest
    for criterion, found in contest.criteria.items() if contest else ():
        for win in found.wins:
            shares = {"rate": win.rate, "length_controlled": win.length_controlled}
            for figure, one in shares.items():
                if one is not None:
                    about = (criterion, win.a, win.b, figure)
                    yield *about, *_measure(one), _TRUSTED[found.trusted]


def _harmfulness(run: ReportData) -> Iterator[Sequence[object]]:
    for model, found in run.metrics.harmfulness.items():
        figures = {
            "greedy": found.greedy,
            "sampled": found.sampled,
            **{f"truth/{name}": one for name, one in (found.against_truth or ())},
            **_ends(found),
        }
        for figure, one in figures.items():
            if one is not None:
                yield model, figure, *_measure(one), _TRUSTED[found.trusted]


def _verdicts(run: ReportData) -> Iterator[Sequence[object]]:
    for stage, found in run.metrics.verdicts.items():
        figures = {**dict(_shares(found)), "agreement": found.agreement, **_ends(found)}
        for figure, one in figures.items():
            if one is not None:
                yield stage, figure, *_measure(one), found.method, _TRUSTED[found.trusted]


def _ends(judged: JudgedMetrics) -> Mapping[str, Rate | None]:
    return {"refused": judged.refused, "unparsed": judged.unparsed}


def _training(run: ReportData) -> Iterator[Sequence[object]]:
    for model, steps in {**run.losses, **run.training}.items():
        for step in steps:
            for figure, value in step.figures.items():
                if figure != "step":
                    yield model, step.step, figure, value


def _time(run: ReportData) -> Iterator[Sequence[object]]:
    for one in run.spent:
        calls = (one.made, one.cached, one.input_tokens, one.output_tokens, one.cost)
        yield one.title, one.seconds, *(calls if one.made is not None else [None] * 5)
