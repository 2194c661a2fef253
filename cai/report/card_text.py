"""The text of a data set's card: how it was made, what it holds, how good its labels are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cai.card import citation_lines, plain, table
from cai.evaluation.intervals import Rate
from cai.report.card_rows import Row, row_lines
from cai.report.data_figures import MARGINS, DataFigures
from cai.report.metrics import LabelMetrics, parse_metrics
from cai.report.wording import between, decimal, interval, measured, percent

MICROWORLD_LICENSE = "apache-2.0"
"""Of prompts and pairs of the microworld, which is part of this package."""

NOT_STATED = "not stated"

WARNINGS = (
    "Prompts may tempt to harm, and first answers, rejected replies and critiques may be harmful: "
    "they are there to learn from, not to be shown as they are.",
    "Replies, critiques and labels are written by models, but where a source says otherwise. They "
    "may be wrong, and they have the biases of their models and of the constitution.",
    "A model's label says which reply it prefers under a principle; no person has judged it.",
)

MEASURED = ("evaluation_", "reward", "contest_", "gate_", "verdict", "harmfulness_")
"""How stages begin that make no data: those of evaluations and of RL."""

Counted = Mapping[str, DataFigures]


@dataclass(frozen=True)
class CardText:
    """What a card is made of.

    Args:
        title: of the card.
        holds: what each data set is for, by its name.
        metrics: of the run.
        shown: a row of each data set that has some, by its name.
        has_best_of: whether the best of several replies is among the data.
        note: what is to be known of the figures; empty for nothing.
    """

    title: str
    holds: Mapping[str, str]
    metrics: Mapping[str, Any]
    shown: Mapping[str, Row] = field(default_factory=dict[str, Row])
    has_best_of: bool = False
    note: str = ""

    @property
    def run(self) -> Mapping[str, Any]:
        """What the run is made of."""
        return self.metrics["run"]


def card_lines(text: CardText, rows: Mapping[str, int], counted: Counted) -> Iterator[str]:
    """The Markdown of a card.

    Args:
        text: what it says.
        rows: of each split.
        counted: figures of each data set, by its name; two that are made of the same rows have the
            same figures, which count once.
    """
    yield from (f"# {plain(text.title)}", "")
    for name, holds in text.holds.items():
        yield f"- `{name}`: {holds}" if len(text.holds) > 1 else holds
    yield from ("", "This page is generated from the run; do not edit it.")
    distinct = [*{id(one): one for one in counted.values()}.values()]
    yield from _how_made(text, distinct)
    yield from _constitution(text.run, distinct)
    yield from _table("Rows", "split", rows)
    yield from ("", text.note) if text.note else ()
    yield from row_lines(text.shown)
    for name, figures in counted.items():
        yield from _statistics(f" of {name}" if len(counted) > 1 else "", figures)
    yield from _label_quality(text.metrics, counted)
    yield from _ended(text.metrics)
    yield from ("", "## Warnings", "", *(f"- {warning}" for warning in WARNINGS))
    yield from _licenses(text.run, distinct)
    yield from citation_lines(text.run.get("publication", {}).get("citation"))


def _how_made(text: CardText, counted: Sequence[DataFigures]) -> Iterator[str]:
    run = text.run
    constitution: Mapping[str, Any] = run["constitution"]
    title = f"{plain(constitution['title'])}, " if constitution.get("title") else ""
    yield from ("", "## How it was made", "")
    yield f"Made under the constitution `{constitution['id']}` ({title}{constitution['hash']}),"
    yield f"recipe {run['recipe_hash']}, seed {run['seed']}."
    yield from _best_of(text)
    models = Counter[str]()
    for figures in counted:
        models.update(figures.values.get("model", {}))
    yield from _table("Rows by the model that wrote or judged them", "model", models)


def _best_of(text: CardText) -> Iterator[str]:
    made: Mapping[str, Any] | None = text.metrics.get("best_of_data")
    if made is None or not text.has_best_of:
        return
    intervals: Mapping[str, Mapping[str, Any]] = made.get("intervals", {})

    def told(name: str) -> str:
        found = intervals.get(name)
        return measured(Rate(**found)) if found else decimal(made[name])

    n = next((f", n = {one['n']:,} prompts" for one in intervals.values()), "")
    known = f" (95% intervals in brackets{n})" if n else ""
    yield ""
    yield (
        f"{made['replies']} replies were drawn to each prompt from the policy `{made['policy']}` "
        f"and scored by the run's preference model: {told('score')} on average, "
        f"{told('best_score')} for the best ones. KL from that policy: "
        f"{told('kl')} nats as estimated, at most {decimal(made['kl_bound'])}{known}."
    )


def _constitution(run: Mapping[str, Any], counted: Sequence[DataFigures]) -> Iterator[str]:
    """The principles, and in how many rows each was applied."""
    drawn = Counter[str]()
    for figures in counted:
        drawn.update(figures.values.get("principle", {}))
    principles: Mapping[str, Mapping[str, Any]] = run["constitution"].get("principles") or {}
    rows = [(name, _said(one), f"{drawn[name]:,}") for name, one in principles.items()]
    yield from table("Constitution", ("principle", "what it says", "rows"), rows)


def _said(principle: Mapping[str, Any]) -> str:
    texts = (principle.get(name) for name in ("statement", "comparison", "critique", "rating"))
    return next((text for text in texts if text), "")


def _statistics(of: str, figures: DataFigures) -> Iterator[str]:
    for column, title in (("origin", "origin"), ("kind", "kind of prompt")):
        yield from _table(f"Rows by {title}{of}", title, figures.values.get(column, {}))
    if figures.values.get("prompt_source"):
        yield from _table(f"Rows by who labelled{of}", "label", figures.values.get("source", {}))
    if figures.rows and figures.words:
        yield from ("", f"Words of a reply{of} to learn from: {figures.words / figures.rows:.1f}.")
    if figures.has_labels:
        yield from _margins(of, figures)


def _margins(of: str, figures: DataFigures) -> Iterator[str]:
    """P(chosen is better) − P(rejected is better) of all pairs, as a histogram of text."""
    bins = [("0, a tie", figures.ties)]
    bins += [
        (f"to {(place + 1) / MARGINS:.1f}", count) for place, count in enumerate(figures.margins)
    ]
    rows = [
        (name, f"{count:,}", "█" * round(20 * count / figures.rows) or "·") for name, count in bins
    ]
    yield from table(f"Margins of the labels{of}", ("margin", "pairs", "share"), rows)


def _label_quality(metrics: Mapping[str, Any], counted: Counted) -> Iterator[str]:
    if not any(figures.has_labels for figures in counted.values()):
        return
    labels = parse_metrics({"labels": metrics.get("labels")}).labels
    rows = [*_label_figures(labels)] if labels else []
    if not rows:
        yield from ("", "## Label quality", "", "Not measured.")
        return
    yield from table("Label quality", ("figure", "value", "95% interval", "prompts"), rows)
    bins = [
        (f"{one.low:.1f} to {one.high:.1f}", f"{one.mean_p:.3f}", f"{one.truth:.3f}", f"{one.n:,}")
        for one in (labels.bins if labels else ())
        if one.n
    ]
    heads = ("label between", "mean label", "share in truth", "pairs")
    yield from table("Calibration of the labels", heads, bins)


def _label_figures(labels: LabelMetrics) -> Iterator[tuple[str, str, str, str]]:
    shares = (
        ("Accuracy where the truth is known", labels.accuracy),
        ("Verdicts that flip with the order of the replies", labels.flip_rate),
        ("Preference for the first place", labels.position_first),
        ("Probability on the options", labels.mass),
    )
    for title, share in shares:
        if share is not None:
            yield title, percent(share.value), interval(share), f"{share.n:,}"
    if (brier := labels.brier_interval) is not None:
        yield "Brier score (less is better)", decimal(brier.value), between(brier), f"{brier.n:,}"
    if labels.ece is not None:
        ends, n = "", labels.n or 0
        if (found := labels.ece_interval) is not None:
            ends, n = f"{found.low:.3f} to {found.high:.3f}", found.n
        yield "Expected calibration error", f"{labels.ece:.3f}", ends, f"{n:,}"


def _licenses(run: Mapping[str, Any], counted: Sequence[DataFigures]) -> Iterator[str]:
    said: Mapping[str, Any] = run.get("publication", {})
    own = said.get("license")
    yield from ("", "## Licenses", "")
    yield f"The data sets: {own}." if own else "The license of the data sets is not stated yet."
    sources = Counter[str]()
    for figures in counted:
        sources.update(figures.sources)
    rows = [
        (name, f"{count:,}", license_of_source(run, name))
        for name, count in sorted(sources.items())
    ]
    yield from table("Sources", ("source of prompts", "rows", "license"), rows)


def license_of_source(run: Mapping[str, Any], source: str) -> str:
    """License of a source, as the recipe states it; the microworld's own is known."""
    stated: Mapping[str, str] = run.get("publication", {}).get("sources", {})
    known = MICROWORLD_LICENSE if source.startswith("microworld-") else NOT_STATED
    return stated.get(source, known)


def _ended(metrics: Mapping[str, Any]) -> Iterator[str]:
    """How rows ended, and what was left out of the work; a run that was stopped may not say."""
    ended, filtered = _joined(metrics.get("rows", {})), _joined(metrics.get("filtered", {}))
    left_out: Mapping[str, int] = metrics.get("left_out", {})
    yield from _table("How the run's rows ended", "stage and status", ended)
    yield from _table("Prompts left out, and why", "source and reason", left_out)
    yield from _table("Rows filtered, and why", "stage and reason", filtered)


def _joined(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Counts by stage and by what follows it; those of evaluations and RL say nothing of it."""
    return {
        f"{stage}: {what}": number
        for stage, by_what in counts.items()
        if not stage.startswith(MEASURED)
        for what, number in by_what.items()
    }


def _table(title: str, head: str, counts: Mapping[str, int]) -> Iterator[str]:
    rows = ((what, f"{number:,}") for what, number in sorted(counts.items()))
    return table(title, (head, "number"), rows)
