"""A contest in the terminal: scores, win rates, and what the judgements took and are worth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cai.evaluation.intervals import Rate
from cai.report.policy_metrics import ContestMetrics, CriterionMetrics
from cai.report.tabling import add_row, plain_table, set_caption
from cai.report.wording import NOT_MEASURED, cost, interval, percent
from cai.stage_titles import stage_title
from cai.trust_words import TRUST

if TYPE_CHECKING:
    from rich.table import Table


def contest_tables(contest: ContestMetrics) -> Iterator[Table]:
    """Scores first, then how often which model wins, then the judgements themselves."""
    yield _scores(contest)
    for name, criterion in contest.criteria.items():
        if criterion.wins:
            yield _wins(name, criterion)
    yield _judgements(contest)


def points(score: Rate) -> str:
    """A score with its interval: ``104 (77 to 135)``; the zero of the scores has none."""
    if score.low == score.high == 0:
        return "0"
    value, low, high = (
        f"{round(one) or 0}".replace("-", "−") for one in (score.value, score.low, score.high)
    )
    return f"{value} ({low} to {high})"


def _scores(contest: ContestMetrics) -> Table:
    table = plain_table(
        f"Elo, by the judge {contest.judge}, with 95% intervals", ["model", *contest.criteria]
    )
    for name in contest.models:
        cells = [_score(one, name) for one in contest.criteria.values()]
        add_row(table, [stage_title(name), *cells])
    untrusted = [name for name, one in contest.criteria.items() if one.trusted is not True]
    if untrusted:
        set_caption(table, [f"NOT TO BE TRUSTED: {', '.join(untrusted)}; see below"])
    return table


def _score(criterion: CriterionMetrics, name: str) -> str:
    score = criterion.elo.get(name)
    if score is None:
        return NOT_MEASURED
    return f"{points(score)}\nn={score.n}"


def _wins(name: str, criterion: CriterionMetrics) -> Table:
    columns = ["first", "second", "first is better", "95% interval", "n", "at equal\nlength"]
    table = plain_table(f"Win rates, {name}", columns)
    for win in criterion.wins:
        titles = (stage_title(win.a), stage_title(win.b))
        share = (percent(win.rate.value), interval(win.rate), str(win.rate.n))
        add_row(table, [*titles, *share, _share(win.length_controlled)])
    return table


def _share(share: Rate | None) -> str:
    if share is None:
        return NOT_MEASURED
    return f"{percent(share.value)}\n{interval(share)}\nn={share.n}"


def _judgements(contest: ContestMetrics) -> Table:
    table = plain_table("Judgements", ["", *contest.criteria])
    told = [_told(one) for one in contest.criteria.values()]
    for name in dict.fromkeys(name for one in told for name in one):
        add_row(table, [name, *(one.get(name, "0") for one in told)])
    set_caption(
        table, (f"{name}: {line}" for name, one in contest.criteria.items() for line in _lines(one))
    )
    return table


def _told(criterion: CriterionMetrics) -> dict[str, str]:
    counts = {"prompts": criterion.prompts, "judged": criterion.rows.get("ok", 0)}
    counts["of them alike, so not asked"] = criterion.identical
    counts |= {status: n for status, n in criterion.rows.items() if status != "ok"}
    counts["calls"] = criterion.calls
    ends = {"refused, of those asked": criterion.refused}
    ends["unparsed, of those asked"] = criterion.unparsed
    tokens = "unknown" if criterion.tokens is None else f"{criterion.tokens:,}"
    return {
        **{name: f"{count:,}" for name, count in counts.items()},
        **{name: _share(share) for name, share in ends.items()},
        "tokens": tokens,
        "cost": cost(criterion.dollars),
        "judge trusted": TRUST[criterion.trusted],
    }


def _lines(criterion: CriterionMetrics) -> Iterator[str]:
    if criterion.why:
        yield f"the judge: {criterion.why}"
    yield from criterion.notes
    truth = criterion.against_truth
    if truth is not None and truth.accuracy is not None:
        found = truth.accuracy
        share = f"{percent(found.value)} ({interval(found)}, {found.n:,} prompts)"
        yield f"of these verdicts, {share} take the side of the ground truth"
