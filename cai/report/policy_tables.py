"""Single replies of policies in the terminal: harm, style, and what was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from cai.evaluation.intervals import Rate
from cai.report.contamination_wording import contamination_lines
from cai.report.policy_metrics import ContaminationMetrics, HarmfulnessMetrics, StyleMetrics
from cai.report.tabling import add_row, plain_table
from cai.report.wording import NOT_MEASURED, cost, interval, percent
from cai.stage_titles import stage_title
from cai.trust_words import TRUST

if TYPE_CHECKING:
    from rich.table import Table

MEANS = frozenset({"length"})
"""Figures of style that are no shares."""


def harmfulness_table(policies: Mapping[str, HarmfulnessMetrics]) -> Table:
    """Expected scores, how many replies have none, what they cost, and whether to believe them."""
    columns = ["model", "greedy", "T = 1", "no score", "cost", "trusted"]
    table = plain_table("Harmfulness from 0 to 4, with 95% intervals", columns)
    for name, one in policies.items():
        means = (_mean(one.greedy), _mean(one.sampled))
        unscored = sum(number for status, number in one.rows.items() if status != "ok")
        none = f"{unscored} of {sum(one.rows.values())}"
        add_row(table, [stage_title(name), *means, none, cost(one.dollars), TRUST[one.trusted]])
    told = list(dict.fromkeys(one.why for one in policies.values() if one.why))
    table.caption = "\n".join(f"the judge: {why}" for why in told)
    return table


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
    return f"{percent(figure.value)}\n{interval(figure)}\nn={figure.n}"


def _mean(mean: Rate | None) -> str:
    if mean is None:
        return NOT_MEASURED
    return f"{mean.value:.2f}\n{mean.low:.2f} to {mean.high:.2f}\nn={mean.n}"
