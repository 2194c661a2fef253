"""One label, reduced to what figures are made of: pure functions of what a judge said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from cai.records import Comparison, OrderWeights, digest
from cai.stages.answer import Answer
from cai.stages.label_maths import preference

NEAR_TIE = 0.05
"""A probability less far from a half than this takes no side that is worth the name."""

TIE = "tie"
"""The choice of a label that prefers nothing."""


@dataclass(frozen=True)
class Observation:
    """What is to be known of one label.

    Args:
        p: what the judge said: P(a is better) of a pair, or the probability of the option that it
            thinks likeliest, where there are more than two.
        prompt: names what it is about; labels of one prompt share its replies.
        truth: what p would be of a perfect judge, in [0, 1]; None where it is not known.
        credit: 1 if the likelier side is the truly likelier one, 0 if not, and a share of ties;
            None if there is no right side.
        error: expected squared error; None without a truth.
        floor: what `error` of a perfect label would be.
        flipped: whether the two orders prefer different options; None if only one was asked.
        sided: whether the judge took a side in one of its orders, see `NEAR_TIE`.
        flipped_to_first: of a flip, whether both orders prefer what stood first.
        first_preferred: of each asking, whether what stood first was preferred: 1, 0, or a half.
        masses: of each asking, the probability that the options had together.
        choice: what was chosen, or `TIE`.
        decided: whether p itself is further than `NEAR_TIE` from saying nothing.
        right: what should have been chosen; empty if that is not known, or nothing should.
        principle: id of the principle, or ids with " + " between them.
        groups: names of whatever else the figures are told apart by.
    """

    p: float
    prompt: str
    truth: float | None = None
    credit: float | None = None
    error: float | None = None
    floor: float | None = None
    flipped: bool | None = None
    sided: bool = False
    flipped_to_first: bool | None = None
    first_preferred: tuple[float, ...] = ()
    masses: tuple[float, ...] = ()
    choice: str = TIE
    decided: bool = False
    right: str = ""
    principle: str = ""
    groups: frozenset[str] = field(default_factory=frozenset[str])


def observe(
    comparison: Comparison, truth: float | None, groups: frozenset[str] = frozenset()
) -> Observation:
    """A label of two replies.

    Args:
        comparison: the label.
        truth: the true P(a is better), in [0, 1]; None if it is not known.
        groups: as in `Observation`.
    """
    p, first = comparison.p_a, [_p_of_first(order) for order in comparison.orders]
    a_first = [p for p, order in zip(first, comparison.orders, strict=True) if order.first == "a"]
    b_first = [p for p, order in zip(first, comparison.orders, strict=True) if order.first == "b"]
    orders = (_mean(a_first), 1 - _mean(b_first)) if a_first and b_first else None
    flipped = (orders[0] - 0.5) * (orders[1] - 0.5) < 0 if orders else None
    return Observation(
        p=p,
        prompt=comparison.prompt.text_hash,
        truth=truth,
        credit=None if truth is None or truth == 0.5 else 1 - abs(_side(p) - _side(truth)),
        error=None if truth is None else (p - truth) ** 2 + truth * (1 - truth),
        floor=None if truth is None else truth * (1 - truth),
        flipped=flipped,
        sided=any(abs(p_a - 0.5) >= NEAR_TIE for p_a in orders or ()),
        flipped_to_first=orders[0] > 0.5 if orders and flipped else None,
        first_preferred=tuple(map(_side, first)),
        masses=tuple(order.mass for order in comparison.orders),
        choice=side_of(p),
        decided=abs(p - 0.5) >= NEAR_TIE,
        right="" if truth is None or truth == 0.5 else side_of(truth),
        principle=comparison.principle,
        groups=groups,
    )


def observe_answer(answer: Answer, groups: frozenset[str] = frozenset()) -> Observation:
    """An answer to a question with options, two of which are as a pair.

    With more of them p is the probability of the likeliest, and the truth whether it is right
    (Guo et al. 2017, §2); the error is Brier's own sum over the options (1950), halved, so that
    two options have the error of a pair:  ½ Σ_k (p_k − y_k)².
    """
    shares, right = answer.shares, answer.question.right
    best = _likeliest(shares)
    credit = 1 / len(best) if right in best else 0.0
    errors = ((p - (place == right)) ** 2 for place, p in enumerate(shares))
    tops = [_likeliest(order.shares) for order in answer.orders]
    flipped = all(len(top) == 1 for top in tops) and len(set(map(tuple, tops))) > 1
    shown_first = [order.shown[0] for order in answer.orders]
    firsts = tuple(
        1 / len(top) if first in top else 0.0 for top, first in zip(tops, shown_first, strict=True)
    )
    two = len(shares) == 2
    even = 1 / len(shares)
    return Observation(
        p=shares[0] if two else max(shares),
        prompt=digest(answer.question.conversation),
        truth=float(right == 0) if two else credit,
        credit=credit,
        error=math.fsum(errors) / 2,
        floor=0.0,
        flipped=flipped,
        sided=any(max(order.shares) - even >= NEAR_TIE for order in answer.orders),
        flipped_to_first=all(share == 1 for share in firsts) if flipped else None,
        first_preferred=firsts,
        masses=tuple(order.mass for order in answer.orders),
        choice=answer.question.options[best[0]] if len(best) == 1 else TIE,
        decided=max(shares) - even >= NEAR_TIE,
        right=answer.question.options[right],
        groups=groups,
    )


def side_of(p: float) -> str:
    """The reply that a label prefers: "a" or "b", or neither if p is exactly a half."""
    return TIE if p == 0.5 else "a" if p > 0.5 else "b"


def _likeliest(shares: Sequence[float]) -> list[int]:
    highest = max(shares)
    return [place for place, share in enumerate(shares) if share == highest]


def _p_of_first(order: OrderWeights) -> float:
    p_a = preference(order.logprob_a, order.logprob_b)
    return p_a if order.first == "a" else 1 - p_a


def _side(p: float) -> float:
    """1 if p is over a half, 0 if under, a half if it is exactly that."""
    return 0.5 if p == 0.5 else float(p > 0.5)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
