"""How often one model wins where its replies are as long as the other's (Lee et al. 2023, App. J).

Judges like long replies. A logistic regression of who wins on how much longer the reply is says
what is left of a win rate at a length ratio of 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from cai.evaluation.intervals import Rate, Z, rate

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
    (Papke & Wooldridge 1996); the interval is σ(β₀ ± z s), s from the sandwich estimator, which
    needs no variance of theirs to be right. Where no lengths are alike, it extrapolates.

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
        return rate(math.fsum(ys), len(ys))
    # The intercept is the same in any unit of length; in this one no fit that there is, is steep.
    fitted = _fit([x / widest for x in xs], ys) if len(contests) > 2 else None
    if fitted is None:
        return None
    value, error = fitted
    low, high = _sigmoid(value - Z * error), _sigmoid(value + Z * error)
    return Rate(_sigmoid(value), low, high, len(contests))


class _Fitted(NamedTuple):
    intercept: float
    error: float


def _fit(xs: Sequence[float], ys: Sequence[float]) -> _Fitted | None:
    """The intercept of greatest likelihood, by Newton's method, and its standard error."""
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
            return _Fitted(intercept, _error(xs, gaps, inverse[0]))
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


def _error(xs: Sequence[float], gaps: Sequence[float], row: Row) -> float:
    """√ of the intercept's variance, Σ gap² (r₀ + r₁ x)² · n/(n − 2)  (White 1980; HC1)."""
    parts = [(gap * (row[0] + row[1] * x)) ** 2 for gap, x in zip(gaps, xs, strict=True)]
    return math.sqrt(math.fsum(parts) * len(xs) / (len(xs) - 2))


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else 1 - 1 / (1 + math.exp(logit))
