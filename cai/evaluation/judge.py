"""What a judge is measured by, on questions whose right answers are known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cai.evaluation.agreement import cohens_kappa
from cai.evaluation.intervals import Rate
from cai.evaluation.labels import LabelFigures, figures_of
from cai.evaluation.observation import Observation


@dataclass(frozen=True)
class LabelCost:
    """What the labels took, whether it was paid for now or before.

    Args:
        labels: their number.
        calls: that led to them, and to the rows that have no label.
        input_tokens: of all calls; None if they are not known.
        output_tokens: likewise.
        dollars: likewise; None if a price is unknown too.
    """

    labels: int
    calls: int
    input_tokens: int | None
    output_tokens: int | None
    dollars: float | None

    @property
    def calls_per_label(self) -> float | None:
        """None without a label."""
        return self.calls / self.labels if self.labels else None

    @property
    def tokens_per_label(self) -> float | None:
        """Read and written; None without a label, or if they are not known."""
        if not self.labels or self.input_tokens is None or self.output_tokens is None:
            return None
        return (self.input_tokens + self.output_tokens) / self.labels

    def to_json(self) -> dict[str, Any]:
        """All of it, with what falls to one label."""
        each = {
            "calls_per_label": self.calls_per_label,
            "tokens_per_label": self.tokens_per_label,
        }
        return {**vars(self), **each}


@dataclass(frozen=True)
class JudgeFigures:
    """How good one judge is.

    Args:
        name: as it was named.
        identity: of the model.
        rows: how many ended how, by status.
        refused: share of the rows that the judge declined, whoever answered them then.
        unparsed: share of the rows in which it gave no verdict.
        labels: of the rows that have a label.
        kappa: agreement with the truth beyond chance (Cohen), by the side taken.
        by_tag: figures of rows with a tag.
        by_principle_tag: figures of labels under principles with a tag.
        by_data: figures of each file.
        cost: of all labels.
    """

    name: str
    identity: str
    rows: Mapping[str, int]
    refused: Rate | None
    unparsed: Rate | None
    labels: LabelFigures
    kappa: Rate | None
    by_tag: Mapping[str, LabelFigures] = field(default_factory=dict[str, LabelFigures])
    by_principle_tag: Mapping[str, LabelFigures] = field(default_factory=dict[str, LabelFigures])
    by_data: Mapping[str, LabelFigures] = field(default_factory=dict[str, LabelFigures])
    cost: LabelCost | None = None

    def to_json(self) -> dict[str, Any]:
        """The shape of one of ``judges`` in the folder's `metrics.json`."""

        def parts(of: Mapping[str, LabelFigures]) -> dict[str, Any]:
            return {name: one.to_json() for name, one in of.items()}

        return {
            "name": self.name,
            "identity": self.identity,
            "rows": dict(self.rows),
            "refusal_rate": self.refused.to_json() if self.refused else None,
            "unparsed_rate": self.unparsed.to_json() if self.unparsed else None,
            "labels": self.labels.to_json(),
            "kappa": self.kappa.to_json() if self.kappa else None,
            "by_tag": parts(self.by_tag),
            "by_principle_tag": parts(self.by_principle_tag),
            "by_data": parts(self.by_data),
            "cost": self.cost.to_json() if self.cost else None,
        }


@dataclass(frozen=True)
class Ends:
    """How a judge's rows ended.

    Args:
        by_status: number of rows.
        refused: share of those that the judge was asked in and declined, whoever answered then;
            None if it was asked in none. Rows of one prompt are one case, for `unparsed` too.
        unparsed: share of them in which it gave no verdict.
    """

    by_status: Mapping[str, int]
    refused: Rate | None
    unparsed: Rate | None

    def to_json(self) -> dict[str, Any]:
        """Give ``rows``, ``refused`` and ``unparsed``, as parts of `metrics.json` have them."""
        return {
            "rows": dict(self.by_status),
            "refused": self.refused.to_json() if self.refused else None,
            "unparsed": self.unparsed.to_json() if self.unparsed else None,
        }


def judge_figures(
    name: str,
    identity: str,
    observations: Sequence[Observation],
    ends: Ends,
    *,
    principle_tags: Mapping[str, Sequence[str]],
    cost: LabelCost | None = None,
) -> JudgeFigures:
    """Measure a judge by its labels.

    Args:
        name: as it was named.
        identity: of the model.
        observations: its labels; their groups are ``tag:…`` and ``data:…``.
        ends: how its rows ended.
        principle_tags: tags of each principle, by its id.
        cost: of the labels.
    """
    by_principle_tag = _grouped(
        (tag, one)
        for one in observations
        for tag in dict.fromkeys(
            tag for id in one.principle.split(" + ") for tag in principle_tags.get(id, ())
        )
    )
    return JudgeFigures(
        name=name,
        identity=identity,
        rows=ends.by_status,
        refused=ends.refused,
        unparsed=ends.unparsed,
        labels=figures_of(observations),
        kappa=cohens_kappa(
            [(one.choice, one.right) for one in observations if one.right],
            [one.prompt for one in observations if one.right],
        ),
        by_tag=_by_group(observations, "tag:"),
        by_principle_tag=by_principle_tag,
        by_data=_by_group(observations, "data:"),
        cost=cost,
    )


def _by_group(observations: Sequence[Observation], prefix: str) -> dict[str, LabelFigures]:
    return _grouped(
        (group.removeprefix(prefix), one)
        for one in observations
        for group in one.groups
        if group.startswith(prefix)
    )


def _grouped(pairs: Iterable[tuple[str, Observation]]) -> dict[str, LabelFigures]:
    groups: defaultdict[str, list[Observation]] = defaultdict(list)
    for name, one in pairs:
        groups[name].append(one)
    return {name: figures_of(groups[name]) for name in sorted(groups)}
