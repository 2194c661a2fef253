"""The run's figures in the terminal, when it ends; a run stopped early shows what it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cai.evaluation.intervals import Rate
from cai.report.contest_table import contest_tables
from cai.report.metrics import (
    BestOfMetrics,
    LabelMetrics,
    Metrics,
    PreferenceModelMetrics,
    parse_metrics,
)
from cai.report.policy_metrics import StageMetrics, figures_of
from cai.report.policy_tables import (
    contamination_told,
    harmfulness_table,
    set_tables,
    style_table,
    verdict_table,
)
from cai.report.tabling import add_row, plain_table, set_caption
from cai.report.wording import NOT_MEASURED, between, decimal, interval, percent
from cai.stage_titles import stage_title

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

BY_PATTERNS = "by refusal patterns: an approximation"


def print_table(metrics: Mapping[str, Any]) -> None:
    """Print `run_tables` to standard output; without colour where that is no terminal.

    Raises:
        InputError: the metrics have another shape.
    """
    from rich.console import Console

    Console(emoji=False).print(run_tables(metrics))


def run_tables(metrics: Mapping[str, Any]) -> Group:
    """Every table that the run has figures for, the latest stage's first.

    Args:
        metrics: the content of `metrics.json`.

    Raises:
        InputError: the metrics have another shape.
    """
    from rich.console import Group
    from rich.markup import escape

    parsed = parse_metrics(metrics)
    tables: list[RenderableType] = []
    if parsed.stages:
        tables.append(_stages(parsed))
        tables += set_tables(parsed.ordered_stages)
    if parsed.verdicts:
        tables.append(verdict_table(parsed.verdicts))
    if parsed.contest:
        tables += contest_tables(parsed.contest)
    if parsed.harmfulness:
        tables.append(harmfulness_table(parsed.harmfulness))
    if parsed.style:
        tables.append(style_table(parsed.style))
    if "contamination" in metrics:
        tables += map(escape, contamination_told(parsed.contamination))
    if parsed.best_of:
        tables.append(_best_of(parsed, parsed.best_of))
    if parsed.harm_by_round:
        tables.append(_harm_by_round(parsed))
    if parsed.harm_by_principle:
        tables.append(_harm_by_principle(parsed))
    if parsed.labels or parsed.pm:
        tables.append(_quality(parsed))
    if parsed.iterations:
        tables.append(_iterations(parsed))
    if len(parsed.pairs) > 1:
        tables.append(_pairs(parsed))
    if parsed.left_out or parsed.filtered:
        tables.append(_left_out(parsed))
    return Group(*tables)


def stage_table(metrics: Mapping[str, Any]) -> Table:
    """One row per policy, one column per figure, each with its 95 % interval under it.

    Args:
        metrics: the content of `metrics.json`.

    Raises:
        InputError: the metrics have another shape.
    """
    return _stages(parse_metrics(metrics))


def _stages(metrics: Metrics) -> Table:
    figures = figures_of(metrics.stages.values())
    columns = [title.replace(" ", "\n").lower() for title in figures]
    table = plain_table("Policy on held-out prompts, with 95% intervals", ["stage", *columns])
    for name, stage in metrics.ordered_stages.items():
        title = stage_title(name) + ("*" if stage.method == "patterns" else "")
        cells = [_cell(figure(stage)) for _, figure in figures.values()]
        add_row(table, [title, *cells])
    if any(stage.method == "patterns" for stage in metrics.stages.values()):
        table.caption = f"* {BY_PATTERNS}"
    return table


def _best_of(metrics: Metrics, best_of: BestOfMetrics) -> Table:
    """Score and distance of best-of-n and of the trained policies: what each nat has bought."""
    columns = ["policy", "score", "KL", "KL at\nmost", "harmful", "helpful"]
    table = plain_table("Best-of-N by the preference model, KL from SL-CAI in nats", columns)
    for point in best_of.by_n:
        title = f"best of {point.n}" if point.n > 1 else stage_title("sl_cai")
        shares = [_cell(point.harmful_compliance), _cell(point.helpfulness)]
        bound = f"{point.kl_bound:.2f}"
        add_row(table, [title, _mean(point.score), _mean(point.kl), bound, *shares])
    for name, beside in best_of.policies.items():
        stage = metrics.stages.get(name, StageMetrics())
        shares = [_cell(stage.harmful_compliance), _cell(stage.helpfulness)]
        cells = [_mean(beside.score), _mean(beside.kl), NOT_MEASURED, *shares]
        add_row(table, [stage_title(name), *cells])
    set_caption(table, best_of.notes)
    return table


def _harm_by_round(metrics: Metrics) -> Table:
    table = plain_table("Harm by revision round", ["round", "harmful", "95% interval", "n"])
    for index, rate in enumerate(metrics.harm_by_round):
        name = str(index) if index else "before"
        add_row(table, [name, percent(rate.value), interval(rate), str(rate.n)])
    return _marked(table, metrics)


def _harm_by_principle(metrics: Metrics) -> Table:
    columns = ["principle", "draws", "harm removed", "95% interval", "of"]
    table = plain_table("Revisions by principle", columns)
    for name, effect in metrics.harm_by_principle.items():
        add_row(table, [name, str(effect.draws), *_three(effect.fixed)])
    return _marked(table, metrics)


def _marked(table: Table, metrics: Metrics) -> Table:
    if metrics.method_of_harm == "patterns":
        table.caption = BY_PATTERNS
    return table


def _quality(metrics: Metrics) -> Table:
    columns = ["figure", "value", "95% interval", "prompts"]
    table = plain_table("Labels and preference model", columns)
    labels, model = metrics.labels or LabelMetrics(), metrics.pm or PreferenceModelMetrics()
    rates = {
        "label accuracy": labels.accuracy,
        "order flips": labels.flip_rate,
        "first position preferred": labels.position_first,
        "preference model accuracy": model.accuracy,
        "keyword baseline": model.keyword_baseline,
    }
    for name, rate in rates.items():
        if rate:
            add_row(table, [name, *_three(rate)])
    numbers = {
        "Brier score": (labels.brier, labels.brier_interval),
        "calibration error": (labels.ece, labels.ece_interval),
    }
    for name, (value, found) in numbers.items():
        if value is not None:
            ends = (f"{found.low:.3f} to {found.high:.3f}", str(found.n)) if found else ("", "")
            add_row(table, [name, f"{value:.3f}", *ends])
    return table


def _iterations(metrics: Metrics) -> Table:
    columns = ["iteration", "pairs", "preference model accuracy", "95% interval", "prompts"]
    table = plain_table("Iterations of online training, each on all pairs so far", columns)
    for one in metrics.iterations:
        add_row(table, [str(one.iteration), str(one.pairs), *_three(one.pm.accuracy)])
    return table


def _pairs(metrics: Metrics) -> Table:
    table = plain_table("Preference pairs by source", ["source", "pairs"])
    for name, number in metrics.pairs.items():
        add_row(table, [name, str(number)])
    return table


def _left_out(metrics: Metrics) -> Table:
    """Prompts that were not taken, and rows that there is nothing to learn from, by reason."""
    table = plain_table("Left out", ["what, and why", "number"])
    for reason, number in sorted(metrics.left_out.items()):
        add_row(table, [reason, str(number)])
    for stage, reasons in metrics.filtered.items():
        for reason, number in reasons.items():
            add_row(table, [f"{stage}: {reason}", str(number)])
    return table


def _three(rate: Rate | None) -> tuple[str, str, str]:
    if rate is None:
        return NOT_MEASURED, "", ""
    return percent(rate.value), interval(rate), str(rate.n)


def _mean(rate: Rate | None) -> str:
    return f"{decimal(rate.value)}\n{between(rate)}\nn={rate.n}" if rate else NOT_MEASURED


def _cell(rate: Rate | None) -> str:
    return f"{percent(rate.value)}\n{interval(rate)}\nn={rate.n}" if rate else NOT_MEASURED
