"""How often one model wins where its replies are as long as the other's (Lee et al. 2023, App. J).

Judges like long replies. A logistic regression of who wins on how much longer the reply is says
what is left of a win rate at a length ratio of 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from cai.evaluation.intervals import Rate, mean_share, share_worth

MOST_STEPS = 50
"""Newton steps; a likelihood with a highest point is there after some ten."""

CLOSE = 1e-9
"""A smaller step than this is the last one."""

LONGEST = 4.0
"""Log-odds of the longest step."""

SINGULAR = 1e-12
"""Share of its largest value under which a determinant is rounding."""

STEEPEST = 40.0
"""Log-odds that no data show: a fit that goes there has no highest point to come to."""


class Contest(NamedTuple):
    """Two replies to one prompt.

    Args:
        p_a: probability that a is the better one, in [0, 1]; 0.5 is a tie.
        length_a: of reply a, in any unit, ≥ 0.
        length_b: of reply b, in the same one.
    """

    p_a: float
    length_a: float
    length_b: float


def length_controlled(contests: Sequence[Contest]) -> Rate | None:
    """P(a wins) if both replies were equally long, with its 95 % interval.

        P(a wins) = σ(β₀ + β₁ ln(length_a / length_b)),  so that σ(β₀) is at a ratio of 1

    Lee et al. (2023), App. J, take the ratio itself. Its logarithm is 0 at a ratio of 1 too, and
    makes the answer for b that for a from 1: it must not matter which model is named first, nor
    how far a reply of one word stands from a long one. Probabilities may stand for wins
    (Papke & Wooldridge 1996). Where no lengths are alike, it extrapolates.

    The interval is that of a win rate m = σ(β₀) (see `cai.evaluation.intervals.mean_share`), had of
    as many contests as the fit is worth at a ratio of 1, with as much variance as it finds:

        n = 1 / (m(1 − m) b),   s² = m(1 − m) a / b

    b is the variance of β₀ if all were won or lost by the fitted probabilities, and a what the
    sandwich estimator gives, which needs no such thing to be right. By a alone probabilities that
    lie on a curve would leave no width.

    Args:
        contests: of the same two models, each on a prompt of its own. A length of 0 counts as 1.

    Returns:
        None where there is no such estimate: fewer than three contests, all ratios the same and
        not 1, or wins that the lengths tell without exception, so that no fit is the best one.
    """
    xs = [math.log(max(one.length_a, 1) / max(one.length_b, 1)) for one in contests]
    ys = [one.p_a for one in contests]
    widest = max(map(abs, xs), default=0.0)
    if contests and not widest:
        return mean_share(ys)
    # The intercept is the same in any unit of length; in this one no fit that there is, is steep.
    fitted = _fit([x / widest for x in xs], ys) if len(contests) > 2 else None
    if fitted is None:
        return None
    of_counts = _sigmoid(fitted.intercept) * _sigmoid(-fitted.intercept)
    return share_worth(
        _sigmoid(fitted.intercept),
        of_counts * fitted.sandwich / fitted.of_counts,
        worth=1 / (of_counts * fitted.of_counts),
        n=len(contests),
    )


class _Fitted(NamedTuple):
    """The intercept, and its variance by the sandwich estimator and if all were counts."""

    intercept: float
    sandwich: float
    of_counts: float


def _fit(xs: Sequence[float], ys: Sequence[float]) -> _Fitted | None:
    """The intercept of greatest likelihood, by Newton's method, and its variance."""
    intercept = slope = 0.0
    for _ in range(MOST_STEPS):
        ps = [_sigmoid(intercept + slope * x) for x in xs]
        inverse = _inverse_information(xs, [p * (1 - p) for p in ps])
        if inverse is None:
            return None
        gaps = [y - p for y, p in zip(ys, ps, strict=True)]
        pulls = math.fsum(gaps), math.fsum(gap * x for gap, x in zip(gaps, xs, strict=True))
        steps = [row[0] * pulls[0] + row[1] * pulls[1] for row in inverse]
        longest = max(map(abs, steps))
        if longest < CLOSE:
            return _Fitted(intercept, _sandwich(xs, gaps, inverse[0]), inverse[0][0])
        # A longer step can lead past the highest point, and from there on away from it.
        scale = min(1.0, LONGEST / longest)
        intercept, slope = intercept + scale * steps[0], slope + scale * steps[1]
        if max(abs(intercept), abs(slope)) > STEEPEST:
            return None
    return None


Row = tuple[float, float]


def _inverse_information(xs: Sequence[float], weights: Sequence[float]) -> tuple[Row, Row] | None:
    """The inverse of Σ w (1, x)ᵀ(1, x); None where x does not vary."""
    total = math.fsum(weights)
    first = math.fsum(w * x for w, x in zip(weights, xs, strict=True))
    second = math.fsum(w * x * x for w, x in zip(weights, xs, strict=True))
    determinant = total * second - first * first
    if determinant <= SINGULAR * total * second:
        return None
    return (
        (second / determinant, -first / determinant),
        (-first / determinant, total / determinant),
    )


def _sandwich(xs: Sequence[float], gaps: Sequence[float], row: Row) -> float:
    """The intercept's variance, Σ gap² (r₀ + r₁ x)² · n/(n − 2)  (White 1980; HC1)."""
    parts = [(gap * (row[0] + row[1] * x)) ** 2 for gap, x in zip(gaps, xs, strict=True)]
    return math.fsum(parts) * len(xs) / (len(xs) - 2)


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else 1 - 1 / (1 + math.exp(logit))
