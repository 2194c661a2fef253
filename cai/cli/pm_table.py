"""How `cai evaluate pm` tells what it found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import orjson
import typer

from cai.cli.constitution_print import console, print_lines
from cai.cli.labeler_table import plain_table
from cai.evaluation.intervals import Rate
from cai.evaluation.scored_pairs import ScoreFigures
from cai.pipeline.pair_scores import ScoredFiles
from cai.report.contamination_wording import contamination_lines
from cai.report.wording import interval, percent

if TYPE_CHECKING:
    from rich.table import Table

MOST_PARTS = 40
"""Rows of a table by part; --json has all."""

TITLES = {
    "by_source": "By source of the label",
    "by_tag": "By kind of the prompt and tag of the row",
    "by_turns": "By turns of the user",
    "by_length": "By the better reply's length, beside the worse one's",
    "by_lower_score": "By the lower of both scores",
}


def print_json(found: ScoredFiles) -> None:
    """Print every figure."""
    typer.echo(orjson.dumps(found.to_json(), option=orjson.OPT_INDENT_2).decode())


def print_scored(found: ScoredFiles) -> None:
    """Print the figures as tables, then what was left out."""
    console().print(_figures(found.model, found.figures))
    console().print(_reliability(found.figures))
    for name, title in TITLES.items():
        parts: Mapping[str, Rate] = getattr(found.figures, name)
        if len(parts) > 1:
            console().print(_by_part(title, parts))
    if found.figures.undecided:
        print_lines([f"{found.figures.undecided} pairs have no better side (a label of ½)"])
    print_lines(f"{number} left out: {reason}" for reason, number in found.left_out.items())
    shared = found.contamination
    print_lines(contamination_lines(shared.to_json() if shared else None))


def _figures(model: str, figures: ScoreFigures) -> Table:
    heads = ("figure", "value", "95% interval", "prompts")
    table = plain_table(f"{model}: {figures.n} pairs", *heads)
    shares = {
        "accuracy (a tie counts half)": figures.accuracy,
        "accuracy of: the longer is better": figures.longer_is_better,
    }
    numbers = {
        "Brier score of σ(r_a − r_b)": figures.brier,
        "calibration error (ECE)": figures.ece_interval,
        "correlation of score and length": figures.score_and_length,
        "  of their differences in a pair": figures.margin_and_length,
    }
    for name, one in shares.items():
        if one is not None:
            table.add_row(name, percent(one.value), interval(one), str(one.n))
    for name, one in numbers.items():
        if one is not None:
            ends = f"{one.low:.3f} to {one.high:.3f}"
            table.add_row(name, f"{one.value:.3f}", ends, str(one.n))
    return table


def _reliability(figures: ScoreFigures) -> Table:
    table = plain_table("Calibration", "σ(|r_a − r_b|)", "mean", "share right", "n")
    for one in figures.bins:
        if one.mean_p is not None and one.truth is not None:
            between = f"{one.low:.2f} to {one.high:.2f}"
            table.add_row(between, f"{one.mean_p:.3f}", f"{one.truth:.3f}", str(one.n))
    return table


def _by_part(title: str, parts: Mapping[str, Rate]) -> Table:
    from rich.markup import escape

    table = plain_table(title, "part", "accuracy", "95% interval", "prompts")
    for name, one in list(parts.items())[:MOST_PARTS]:
        table.add_row(escape(name), percent(one.value), interval(one), str(one.n))
    if len(parts) > MOST_PARTS:
        table.caption = f"{len(parts) - MOST_PARTS} more are in --json"
    return table
