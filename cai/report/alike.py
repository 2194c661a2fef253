"""Whether judged figures of two runs are on one scale, and if not, why: for a reader of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cai.report.metrics import Metrics
from cai.report.policy_metrics import AskedMetrics, CriterionMetrics, JudgedMetrics
from cai.stage_titles import stage_title

Judged = Mapping[str, CriterionMetrics] | Mapping[str, JudgedMetrics]


def judged_apart(a: Judged, b: Judged) -> tuple[str, ...]:
    """What two runs' judges were not asked alike; empty if their figures are on one scale.

    Args:
        a: figures of the first run by one judge, by whatever they are of; perhaps none.
        b: of the second.
    """
    if not a or not b:
        return ()
    found = [next(iter(side.values())).asked for side in (a, b)]
    return tuple(_apart(found[0], found[1]))


def contests_apart(a: Metrics, b: Metrics) -> tuple[str, ...]:
    """Why Elo points of two runs, by all criteria that both have, are not to be laid together."""
    contests = [one.contest.criteria if one.contest else {} for one in (a, b)]
    common = [{name: one} for name, one in contests[0].items() if name in contests[1]]
    judged = (judged_apart(one, {name: contests[1][name] for name in one}) for one in common)
    return (*zeros_apart(a, b), *dict.fromkeys(remark for one in judged for remark in one))


def zeros_apart(a: Metrics, b: Metrics) -> tuple[str, ...]:
    """Whether another model stands at 0 Elo points in each of two runs; empty if it is the same."""
    if a.contest is None or b.contest is None or not (a.contest.models and b.contest.models):
        return ()
    names = [stage_title(one.models[0]) for one in (a.contest, b.contest)]
    if names[0] != names[1]:
        return (f"0 is {names[0]} in A, {names[1]} in B",)
    zeros = (a.contest.zero, b.contest.zero)
    if not all(zeros):
        return (f"{_untold(zeros)} which model stands at 0",)
    return () if zeros[0] == zeros[1] else (f"0 is {names[0]}, another model in A than in B",)


def _apart(a: AskedMetrics | None, b: AskedMetrics | None) -> Iterator[str]:
    if a is None or b is None:
        yield f"{_untold((a, b))} who judged"
        return
    if a.judge != b.judge:
        yield f"judged by {a.judge} in A, {b.judge} in B"
    elif a.model != b.model:
        yield f"judged by {a.judge}, another model in A than in B"
    if a.way != b.way:
        yield f"asked by {a.way} in A, {b.way} in B"
    elif a.questions != b.questions:
        yield "asked other questions in A than in B"


def _untold(sides: Sequence[object]) -> str:
    """``A does not tell``, or ``A and B do not tell``: figures of before it was kept."""
    without = [letter for letter, one in zip("AB", sides, strict=True) if not one]
    return f"{' and '.join(without)} {'do' if len(without) > 1 else 'does'} not tell"
