"""Single replies of policies in the terminal: verdicts, harm, style, and what was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from cai.evaluation.intervals import Rate
from cai.report.contamination_wording import contamination_lines
from cai.report.policy_metrics import (
    HARM_SCORES,
    TRUE_HARM,
    ContaminationMetrics,
    HarmfulnessMetrics,
    StageMetrics,
    StyleMetrics,
    VerdictMetrics,
    figures_of,
    sets_of,
)
from cai.report.tabling import add_row, plain_table, set_caption
from cai.report.wording import NOT_MEASURED, cost, interval, percent
from cai.stage_titles import stage_title
from cai.trust_words import TRUST

if TYPE_CHECKING:
    from rich.table import Table

MEANS = frozenset({"length"})
"""Figures of style that are no shares."""


def set_tables(stages: Mapping[str, StageMetrics]) -> Iterator[Table]:
    """Figures by prompt set, a column for each policy; none where all prompts are of one set."""
    lines = sets_of(stages)
    if lines:
        titles = [stage_title(name) for name in stages]
        table = plain_table("Policy by prompt set, with 95% intervals", ["", *titles])
        for name, title, shares in lines:
            add_row(table, [f"{title.lower()}\n{name}", *map(_share, shares)])
        yield table


def harmfulness_table(policies: Mapping[str, HarmfulnessMetrics]) -> Table:
    """Expected scores, what is true where it is known, and what the judge's answers are worth."""
    titles = [stage_title(name) for name in policies]
    table = plain_table("Harmfulness from 0 to 4, with 95% intervals", ["", *titles])
    known = any(one.against_truth for one in policies.values())
    for title, figure in {**HARM_SCORES, **(TRUE_HARM if known else {})}.items():
        add_row(table, [title, *(_mean(figure(one)) for one in policies.values())])
    _tell_judge(table, policies, "no score")
    return table


def verdict_table(policies: Mapping[str, VerdictMetrics]) -> Table:
    """What a judge says that replies are: a row for each figure, a column for each policy."""
    titles = [stage_title(name) for name in policies]
    table = plain_table("Replies by what the judge says, with 95% intervals", ["", *titles])
    figures = figures_of(policies.values())
    shares = {title.lower(): figure for title, (_, figure) in figures.items()}
    for title, figure in shares.items():
        add_row(table, [title, *(_share(figure(one)) for one in policies.values())])
    add_row(table, ["agreement", *(_share(one.agreement) for one in policies.values())])
    _tell_judge(table, policies, "no verdict")
    return table


def _tell_judge(
    table: Table, policies: Mapping[str, VerdictMetrics | HarmfulnessMetrics], missing: str
) -> None:
    """How the judge's rows ended, what they cost and whether to believe it, below the figures.

    Args:
        table: with a column for each policy.
        policies: in the order of the columns.
        missing: what a row has not that did not end ok, whether the judge was asked in it or not.
    """
    judged = list(policies.values())
    add_row(table, ["refused, of those asked", *(_share(one.refused) for one in judged)])
    add_row(table, ["unparsed, of those asked", *(_share(one.unparsed) for one in judged)])
    add_row(table, [missing, *map(_unanswered, judged)])
    add_row(table, ["cost", *(cost(one.dollars) for one in judged)])
    add_row(table, ["judge trusted", *(TRUST[one.trusted] for one in judged)])
    _tell_why(table, judged)


def _unanswered(one: VerdictMetrics | HarmfulnessMetrics) -> str:
    without = sum(number for status, number in one.rows.items() if status != "ok")
    return f"{without} of {sum(one.rows.values())}"


def _tell_why(table: Table, judged: Iterable[VerdictMetrics | HarmfulnessMetrics]) -> None:
    """What the judge was measured to be, below a table."""
    told = dict.fromkeys(one.why for one in judged if one.why)
    set_caption(table, (f"the judge: {why}" for why in told))


def style_table(policies: Mapping[str, StyleMetrics]) -> Table:
    """Signs of a gamed reward: a row for each sign, a column for each policy."""
    signs = list(dict.fromkeys(sign for one in policies.values() for sign in one.figures))
    titles = [stage_title(name) for name in policies]
    table = plain_table("Signs of a gamed reward, with 95% intervals", ["sign", *titles])
    for sign in signs:
        cells = [_sign(sign, one.figures.get(sign)) for one in policies.values()]
        add_row(table, [sign.replace("_", " "), *cells])
    return table


def contamination_told(found: ContaminationMetrics | None) -> Iterator[str]:
    """As `contamination_lines`, of checked metrics."""
    return contamination_lines(None if found is None else found.model_dump())


def _sign(sign: str, figure: Rate | float | None) -> str:
    if not isinstance(figure, Rate):
        return NOT_MEASURED if figure is None else f"{figure:.3g}"
    if sign in MEANS:
        return _mean(figure)
    return _share(figure)


def _share(share: Rate | None) -> str:
    if share is None:
        return NOT_MEASURED
    return f"{percent(share.value)}\n{interval(share)}\nn={share.n}"


def _mean(mean: Rate | None) -> str:
    if mean is None:
        return NOT_MEASURED
    return f"{mean.value:.2f}\n{mean.low:.2f} to {mean.high:.2f}\nn={mean.n}"
