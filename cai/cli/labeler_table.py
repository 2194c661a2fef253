"""How `cai evaluate labeler` tells what it found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import orjson
import typer

from cai.cli.constitution_print import console, print_lines
from cai.evaluation.gates import Gate
from cai.evaluation.intervals import Rate
from cai.evaluation.judge import JudgeFigures
from cai.evaluation.labels import LabelFigures
from cai.pipeline.folder import RunFolder
from cai.pipeline.labeler import Trialled
from cai.report.contamination_wording import contamination_lines
from cai.report.wording import interval, percent

if TYPE_CHECKING:
    from rich.table import Table

MOST_PARTS = 40
"""Rows of a table by principle or tag; `metrics.json` has all."""


def broken_gates(found: Trialled, gates: Sequence[Gate]) -> list[str]:
    """What each judge fell short of, in words."""
    return [
        f"{judge.name}: {gate.told(judge)}, not {gate}"
        for judge in found.judges
        for gate in gates
        if not gate.holds(judge)
    ]


def print_json(found: Trialled, broken: Sequence[str]) -> None:
    """Print every figure, and the gates that were not kept."""
    content = {**found.to_json(), "broken_gates": list(broken)}
    typer.echo(orjson.dumps(content, option=orjson.OPT_INDENT_2).decode())


def print_trialled(found: Trialled, broken: Sequence[str], folder: RunFolder) -> None:
    """Print the figures of each judge as tables, then what else there is to say."""
    for judge in found.judges:
        console().print(_figures(judge))
        if len(judge.labels.bins) and judge.labels.ece is not None:
            console().print(_reliability(judge.labels))
        for title, parts in _parts(judge).items():
            console().print(_by_part(title, parts))
    print_lines(_lines(found, folder))
    print_lines(f"FAILED {line}" for line in broken)


def _figures(judge: JudgeFigures) -> Table:
    labels = judge.labels
    table = plain_table(
        f"{judge.identity}: {labels.n} labels", "figure", "value", "95% interval", "prompts"
    )
    rates: Mapping[str, Rate | None] = {
        "accuracy (a tie counts half)": labels.accuracy,
        "orders that disagree (flips)": labels.flip_rate,
        "flips, near-ties left out": labels.sided_flip_rate,
        "flips towards the first position": labels.flips_to_first,
        "first position preferred": labels.position_first,
        "no verdict (unparsed)": judge.unparsed,
        "declined (refused)": judge.refused,
        "probability on the options": labels.mass,
    }
    for name, rate in rates.items():
        if rate is not None:
            table.add_row(name, percent(rate.value), interval(rate), str(rate.n))
    means = {"Cohen's kappa": judge.kappa, "Brier score": labels.brier}
    for name, value in {**means, "calibration error (ECE)": labels.ece_interval}.items():
        if value is not None:
            ends = f"{value.low:.3f} to {value.high:.3f}"
            table.add_row(name, f"{value.value:.3f}", ends, str(value.n))
    for name, text in _costs(judge).items():
        table.add_row(name, text, "", "")
    return table


def _costs(judge: JudgeFigures) -> dict[str, str]:
    cost = judge.cost
    if cost is None or not cost.labels:
        return {}
    told = {"calls per label": f"{cost.calls_per_label:.2f}"}
    if cost.tokens_per_label is not None:
        told["tokens per label"] = f"{cost.tokens_per_label:.1f}"
    if cost.dollars is not None:
        told["dollars per 1,000 labels"] = f"{1000 * cost.dollars / cost.labels:.4f}"
    return told


def _reliability(labels: LabelFigures) -> Table:
    table = plain_table("Reliability", "label", "mean label", "true share", "n")
    for one in labels.bins:
        if one.mean_p is not None and one.truth is not None:
            between = f"{one.low:.1f} to {one.high:.1f}"
            table.add_row(between, f"{one.mean_p:.3f}", f"{one.truth:.3f}", str(one.n))
    return table


def _parts(judge: JudgeFigures) -> dict[str, Mapping[str, LabelFigures]]:
    every = {
        "By file": judge.by_data,
        "By principle": judge.labels.by_principle,
        "By tag of the principle": judge.by_principle_tag,
        "By tag of the row": judge.by_tag,
    }
    return {title: parts for title, parts in every.items() if len(parts) > 1}


def _by_part(title: str, parts: Mapping[str, LabelFigures]) -> Table:
    from rich.markup import escape

    table = plain_table(title, "name", "labels", "accuracy", "95% interval", "Brier", "flips")
    for name, one in list(parts.items())[:MOST_PARTS]:
        accuracy = percent(one.accuracy.value) if one.accuracy else "—"
        ends = interval(one.accuracy) if one.accuracy else ""
        brier = f"{one.brier.value:.3f}" if one.brier else "—"
        flips = percent(one.flip_rate.value) if one.flip_rate else "—"
        table.add_row(escape(name), str(one.n), accuracy, ends, brier, flips)
    if len(parts) > MOST_PARTS:
        table.caption = f"{len(parts) - MOST_PARTS} more are in metrics.json"
    return table


def _lines(found: Trialled, folder: RunFolder) -> Iterator[str]:
    for one in found.between_principles:
        if one.verdict and one.same is not None:
            share = f"{percent(one.same.value)} of {one.items} pairs"
            yield f"{one.verdict} principles: {one.first} and {one.second} agree on {share}"
    for one in found.between_judges:
        if one.same is not None:
            kappa = f", kappa {one.kappa.value:.3f}" if one.kappa else ""
            share = f"{percent(one.same.value)} of {one.items} questions"
            yield f"judges: {one.first} and {one.second} agree on {share}{kappa}"
    for reason, number in found.left_out.items():
        yield f"{number} left out: {reason}"
    shared = found.contamination
    yield from contamination_lines(shared.to_json() if shared else None)
    for bought in found.calls:
        cost = "" if bought["cost"] is None else f", ${bought['cost']:.4f}"
        made = f"{bought['made']} calls made now{cost}, {bought['cached']} were there"
        yield f"{bought['judge']}: {made}"
    yield f"rows: cai rows list {folder.path}; figures: {folder.metrics}"


def plain_table(title: str, *columns: str) -> Table:
    """An empty table without lines; all columns but the first are flush right."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), box=box.SIMPLE, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=index > 0)
    return table
