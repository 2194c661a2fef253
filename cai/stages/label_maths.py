"""From what a judge said to the probability that a reply is the better one: pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Literal, NamedTuple


class Scale(NamedTuple):
    """Whole numbers that a judge rates one reply with.

    Args:
        template: asks for one of them.
        lowest: the first of them.
        highest: the last.
        lowest_is_best: whether fewer is better.
    """

    template: Literal["rate", "grade"]
    lowest: int
    highest: int
    lowest_is_best: bool = False

    @property
    def numbers(self) -> tuple[int, ...]:
        """All of them, in their order."""
        return tuple(range(self.lowest, self.highest + 1))


RATING = Scale("rate", 1, 10)
"""A direct rating, 10 is best (Lee et al. 2023, §2.2.2)."""

GRADE = Scale("grade", 0, 4, lowest_is_best=True)
"""Absolute harmfulness, 4 is most harmful (Bai et al. 2022, §4.5)."""

RATINGS = RATING.numbers

ROUNDING = 2.0**-50
"""More than the rounding of some votes adds up to, and far less than any difference of meaning."""


def preference(logprob_a: float, logprob_b: float) -> float:
    """P(a is better) from how the feedback model weighed its two answers.

        p = exp(a) / (exp(a) + exp(b)) = σ(a − b)

    Bai et al. (2022), §4.1.

    Args:
        logprob_a: natural log of the probability of the answer that stands for a.
        logprob_b: and of the other; the two probabilities need not sum to one.

    Raises:
        ValueError: a log-probability is not finite (the model did not weigh that answer).
    """
    if not (math.isfinite(logprob_a) and math.isfinite(logprob_b)):
        raise ValueError(f"both log-probabilities must be finite, got {logprob_a}, {logprob_b}")
    odds = math.exp(-abs(logprob_a - logprob_b))
    return 1 / (1 + odds) if logprob_a >= logprob_b else odds / (1 + odds)


def mean_probability(votes: Sequence[float]) -> float:
    """The mean of votes: of orders (Lee et al. 2023, §2.1.1), of principles, of chains of thought.

        p = (1/n) Σ p_i

    A judge that always says (A) votes p and 1 − p, each rounded by itself: the mean is then exactly
    a half, a tie, and rounding does not make a preference of it.

    Raises:
        ValueError: there is no vote.
    """
    if not votes:
        raise ValueError("there is no vote to take the mean of")
    return _tie_kept(math.fsum(votes) / len(votes))


def _tie_kept(p: float) -> float:
    return 0.5 if abs(p - 0.5) < ROUNDING else p


def orders_agree(first: float, second: float) -> bool:
    """Whether two orders of a pair prefer the same reply; a tie agrees with anything.

    Args:
        first: P(a is better) with a shown at (A).
        second: and with b shown at (A).
    """
    return (first - 0.5) * (second - 0.5) >= 0


def clamped(p: float, bounds: tuple[float, float] | Literal["hard"] | None) -> float:
    """P held between two bounds; labels of chains of thought are otherwise nearly 0 or 1.

        p' = min(high, max(low, p)),   [0.4, 0.6] in Bai et al. (2022), §4.3

    It is applied once, to the final p: clamped votes would have another mean.

    Args:
        p: of a label, in [0, 1].
        bounds: lower and upper; "hard" for 1, 0, or a half of a tie; None for none.
    """
    if bounds is None:
        return p
    if bounds == "hard":
        return 0.5 if p == 0.5 else float(p > 0.5)
    low, high = bounds
    return min(high, max(low, p))


def rating_shares(logprobs: Sequence[float], scale: Scale = RATING) -> tuple[float, ...]:
    """Probabilities of the numbers of a scale, normalised.

        p_i = exp(l_i) / Σ_j exp(l_j)

    Args:
        logprobs: natural log of p(number | question), in the order of the numbers.
        scale: from 1 to 10, or another one.

    Raises:
        ValueError: there is not one for each number, or one is not finite.
    """
    n = len(scale.numbers)
    if len(logprobs) != n or not all(map(math.isfinite, logprobs)):
        raise ValueError(f"{n} finite log-probabilities make a rating, got {list(logprobs)}")
    return option_shares(logprobs)


def option_shares(logprobs: Sequence[float]) -> tuple[float, ...]:
    """Probabilities of several options, normalised.

        p_i = exp(l_i) / Σ_j exp(l_j)

    Raises:
        ValueError: there is no option, or a log-probability is not finite.
    """
    if not logprobs or not all(map(math.isfinite, logprobs)):
        raise ValueError(f"shares need finite log-probabilities, got {list(logprobs)}")
    highest = max(logprobs)
    shares = [math.exp(logprob - highest) for logprob in logprobs]
    total = math.fsum(shares)
    return tuple(share / total for share in shares)


def expected_rating(shares: Sequence[float], scale: Scale = RATING) -> float:
    """The mean rating, within the scale:  s = Σ i·p_i  (Lee et al. 2023, §2.2.2)."""
    return math.fsum(number * share for number, share in zip(scale.numbers, shares, strict=True))


def rating_reward(expected: float) -> float:
    """A mean rating as a reward in [−1, 1]:  r = 2 (s − 1) / 9 − 1  (Lee et al. 2023, §2.2.2)."""
    return 2 * (expected - 1) / (len(RATINGS) - 1) - 1


def rated_preference(
    shares_a: Sequence[float], shares_b: Sequence[float], scale: Scale = RATING
) -> float:
    """P(a is better) of two ratings drawn apart; equal ones are a tie.

    p = P(R_a > R_b) + ½ P(R_a = R_b), or with < where the lowest is best
    """
    if scale.lowest_is_best:
        shares_a, shares_b = shares_b, shares_a
    above = math.fsum(
        a * b for i, a in enumerate(shares_a) for j, b in enumerate(shares_b) if i > j
    )
    equal = math.fsum(a * b for a, b in zip(shares_a, shares_b, strict=True))
    return _tie_kept(min(1.0, above + equal / 2))


def mean_wins(replies: int, p_first: Sequence[float]) -> tuple[float, ...]:
    """Mean probability of each of k replies to be better than another one.

        w_i = Σ_{j≠i} P(i better than j) / (k − 1)

    Args:
        replies: k, at least 2.
        p_first: P(first is better) of every pair, in the order of `pairs_of`.
    """
    totals = [0.0] * replies
    for (first, second), p in zip(pairs_of(replies), p_first, strict=True):
        totals[first] += p
        totals[second] += 1 - p
    return tuple(total / (replies - 1) for total in totals)


def pairs_of(replies: int) -> tuple[tuple[int, int], ...]:
    """All pairs of k replies by their numbers: (0, 1), (0, 2) … (k−2, k−1)."""
    return tuple(combinations(range(replies), 2))


def best_and_worst(wins: Sequence[float]) -> tuple[int, int]:
    """The replies that win most and least often; of equal ones the first is best, the last worst.

    Raises:
        ValueError: there are fewer than two.
    """
    if len(wins) < 2:
        raise ValueError(f"best and worst are of two replies or more, got {len(wins)}")
    places = range(len(wins))
    return max(places, key=lambda i: (wins[i], -i)), min(places, key=lambda i: (wins[i], -i))
