"""The constitution's principles as lines of a table: their texts, and what came of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cai.evaluation.intervals import Rate
from cai.report.metrics import EffectMetrics, LabelMetrics, Metrics, WithoutMetrics

MOST_LINES = 200
"""The page shows the principles drawn most often; `metrics.json` has all."""


@dataclass(frozen=True)
class PrincipleLine:
    """One principle, as the report shows it; what was not measured is None.

    Args:
        name: its id.
        texts: what the constitution says of it.
        revisions: share kept of the revisions asked for under it; `n` is the draws.
        fixed: of those that began with a harmful text, the share that ended without harm.
        labels: share labelled of the pairs asked about under it; `n` is the draws.
        orders_agree: of its labels, the share whose two orders take the same side.
        truth_agrees: of its labels, the share that takes the truly better side.
        others_agree: the share in which its vote takes the side of the other principles' mean.
        left_out: the run's figures without it.
        turned: the share of labels whose side changes without its votes.
        drawn: how often it was drawn in all.
    """

    name: str
    texts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    revisions: Rate | None = None
    fixed: Rate | None = None
    labels: Rate | None = None
    orders_agree: Rate | None = None
    truth_agrees: Rate | None = None
    others_agree: Rate | None = None
    left_out: Mapping[str, WithoutMetrics] = field(default_factory=dict[str, WithoutMetrics])
    turned: Rate | None = None
    drawn: int = 0


def principle_lines(metrics: Metrics) -> list[PrincipleLine]:
    """A line for each principle that the constitution has or a row has drawn, by id."""
    by_label = metrics.labels.by_principle if metrics.labels else {}
    texts = metrics.run.constitution.principles
    names = sorted({*texts, *metrics.principles, *metrics.harm_by_principle, *by_label})
    lines = [_line(name, metrics, by_label.get(name)) for name in names]
    if len(lines) <= MOST_LINES:
        return lines
    most = sorted(lines, key=lambda one: -one.drawn)[:MOST_LINES]
    return sorted(most, key=lambda one: one.name)


def _line(name: str, metrics: Metrics, label: LabelMetrics | None) -> PrincipleLine:
    effect = metrics.harm_by_principle.get(name, EffectMetrics(draws=0))
    texts = metrics.run.constitution.principles.get(name, {})
    found = metrics.principles.get(name)
    if found is None:  # A run of an earlier version has measured less.
        label = label or LabelMetrics()
        return PrincipleLine(
            name,
            texts,
            fixed=effect.fixed,
            orders_agree=_complement(label.flip_rate),
            truth_agrees=label.accuracy,
            drawn=effect.draws + (label.n or 0),
        )
    return PrincipleLine(
        name,
        texts,
        revisions=found.revisions,
        fixed=effect.fixed,
        labels=found.labels,
        orders_agree=found.orders_agree,
        truth_agrees=found.truth_agrees,
        others_agree=found.others_agree,
        left_out=found.left_out,
        turned=found.turned,
        drawn=sum(one.n for one in (found.revisions, found.labels) if one),
    )


def _complement(rate: Rate | None) -> Rate | None:
    return Rate(1 - rate.value, 1 - rate.high, 1 - rate.low, rate.n) if rate else None
