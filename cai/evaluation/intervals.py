"""Shares and means with their 95 % intervals: no figure of a run is shown without one."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

Item = TypeVar("Item")

Z = 1.959963984540054
"""The normal distribution's 97.5 % quantile: two-sided 95 % intervals."""


@dataclass(frozen=True)
class Rate:
    """A measured share (or mean), and the 95 % interval that it stands in.

    Args:
        value: the share found, in [0, 1] (a mean or a difference may lie outside).
        low: lower end of the interval, ≤ value.
        high: upper end, ≥ value.
        n: number of cases it was measured on, ≥ 1. Nothing measured is None, never a Rate.
    """

    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, Any]:
        """Give ``{"value", "low", "high", "n"}``, as `metrics.json` holds it."""
        return asdict(self)


def mean_share(values: Sequence[float]) -> Rate:
    """Mean of values in [0, 1], with Wilson's interval for as many counts as they are worth.

        n' = n · m̃(1 − m̃) / s̃²

    where m̃ and s̃² are mean and variance of the values together with z² imagined ones, half of
    them 0 and half 1: those that Wilson's interval itself takes its middle from (Agresti and Coull
    1998). Counts of 0 and 1 have the variance m̃(1 − m̃), and n' is n. Values that vary less, as
    probabilities do, say more of their mean than so many counts would (n' is the effective size of
    a sample, as Korn and Graubard 1998 have it for surveys). The imagined ones stand for what was
    not met yet: values which are all alike leave some width, the more the fewer they are, and the
    interval goes with the values without a jump.

    Args:
        values: independent measurements in [0, 1], at least one.

    Raises:
        ValueError: there is none.
    """
    n = len(values)
    if not n:
        raise ValueError("a mean needs at least one value; no measurement is None")
    mean = min(max(math.fsum(values) / n, 0.0), 1.0)
    variance = math.fsum((value - mean) ** 2 for value in values) / n
    return share_worth(mean, min(variance, mean * (1 - mean)), worth=n, n=n)


def share_by_case(values: Iterable[tuple[Hashable, float]]) -> Rate | None:
    """Mean of values in [0, 1], some of which are of one case: its values are no further evidence.

        m = Σ_c y_c / N,   s² = Σ_c (y_c − n_c m)² / Σ_c n_c²,   W = N² / Σ_c n_c²

    y_c is the sum of the n_c values of case c, N the number of all, and s² / W the variance of a
    ratio over clusters of unequal sizes (Cochran 1977, ch. 9A). The interval is that of
    `mean_share` for W values of the variance s²; W is the number of cases where they are of one
    size, and else less (Kish 1965). Cases of one value each have that of `mean_share`, and cases
    of one size that of their means.

    Args:
        values: each with what names its case; cases are independent of each other.

    Returns:
        With the number of cases as `n`; None if there is no value.
    """
    of_case: defaultdict[Hashable, list[float]] = defaultdict(list)
    for case, value in values:
        of_case[case].append(value)
    if not of_case:
        return None
    sizes, sums = [len(of) for of in of_case.values()], [math.fsum(of) for of in of_case.values()]
    every, squares = sum(sizes), sum(size**2 for size in sizes)
    mean = min(max(math.fsum(sums) / every, 0.0), 1.0)
    apart = [(total - size * mean) ** 2 for total, size in zip(sums, sizes, strict=True)]
    return share_worth(mean, math.fsum(apart) / squares, worth=every**2 / squares, n=len(sizes))


def share_worth(mean: float, variance: float, *, worth: float, n: int) -> Rate:
    """A share that is no plain mean of values, with the interval that `mean_share` would give.

    Args:
        mean: the share, in [0, 1].
        variance: of one value.
        worth: how many independent values say as much of the share, > 0.
        n: number of cases, which the figure is told with.
    """
    every, half = worth + Z**2, Z**2 / 2
    middle = (worth * mean + half) / every
    pooled = (worth * (variance + mean**2) + half) / every - middle**2
    low, high = _wilson(mean, worth * middle * (1 - middle) / pooled)
    return Rate(mean, low, high, n)


def rate(successes: float, n: int) -> Rate:
    """Share of `n` cases, with Wilson's score interval (Wilson 1927).

        (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n)

    It stays inside [0, 1] and is honest at 0 of n and n of n, where the normal interval has no
    width. A sum of values in [0, 1] may stand for the count (ties that count half): their variance
    is at most that of a count with the same mean, so the interval is then too wide, not too narrow.

    Args:
        successes: count of cases that have the property, in [0, n].
        n: number of cases, ≥ 1.

    Raises:
        ValueError: no case at all, or more successes than cases.
    """
    if n < 1:
        raise ValueError(f"a rate needs at least one case, got n = {n}; no measurement is None")
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie between 0 and n = {n}, got {successes}")
    share = successes / n
    low, high = _wilson(share, n)
    return Rate(share, low, high, n)


def _wilson(share: float, n: float) -> tuple[float, float]:
    spread = Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    scale = 1 + Z**2 / n
    middle = share + Z**2 / (2 * n)
    # Rounding alone may put an end on the wrong side of a share of exactly 0 or 1.
    low = min(max((middle - spread) / scale, 0.0), share)
    return low, max(min((middle + spread) / scale, 1.0), share)


def share_of(flags: Sequence[bool]) -> Rate | None:
    """Share of the flags that are set; None where there is none."""
    return rate(sum(flags), len(flags)) if flags else None


def mean_interval(values: Sequence[float]) -> Rate:
    """Mean with its normal 95 % interval, m ± z s/√n (s: the sample's standard deviation).

    Args:
        values: independent measurements, at least two; the interval is meant for some 30 or more.

    Raises:
        ValueError: fewer than two values, which say nothing of their spread.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"a mean's interval needs at least two values, got {n}")
    mean = math.fsum(values) / n
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    spread = Z * math.sqrt(variance / n)
    return Rate(mean, mean - spread, mean + spread, n)


def difference(before: Rate, after: Rate) -> Rate:
    """How much a share changed, after − before, with Newcombe's hybrid interval (1998, method 10).

        d − √((a − l_a)² + (u_b − b)²)  to  d + √((u_a − a)² + (b − l_b)²)

    Both samples are taken as independent; where they share their prompts the interval is too wide.
    Its `n` is the smaller sample's.
    """
    change = after.value - before.value
    low = change - math.hypot(after.value - after.low, before.high - before.value)
    high = change + math.hypot(after.high - after.value, before.value - before.low)
    return Rate(change, low, high, min(before.n, after.n))


def correlation(
    ones: Sequence[float], others: Sequence[float], *, cases: int | None = None
) -> Rate | None:
    """Pearson's correlation, with Fisher's interval, tanh(artanh r ± z/√(n − 3)) (Fisher 1921).

    Args:
        ones: one value of each thing measured.
        others: and the other one, in the same order.
        cases: independent cases among them, if not all are; for the interval.

    Returns:
        In [−1, 1]; None with fewer than four cases, or where one of the values never varies.
    """
    n = cases or len(ones)
    middles = [math.fsum(values) / max(len(values), 1) for values in (ones, others)]
    apart = [
        (one - middles[0], other - middles[1]) for one, other in zip(ones, others, strict=True)
    ]
    spread = math.sqrt(math.fsum(x * x for x, _ in apart) * math.fsum(y * y for _, y in apart))
    if n < 4 or spread == 0:
        return None
    found = min(max(math.fsum(x * y for x, y in apart) / spread, -1.0), 1.0)
    if abs(found) == 1:
        return Rate(found, found, found, n)
    middle, half = math.atanh(found), Z / math.sqrt(n - 3)
    low, high = math.tanh(middle - half), math.tanh(middle + half)
    return Rate(found, min(low, found), max(high, found), n)


def bootstrapped(
    sample: Sequence[Item],
    statistic: Callable[[Sequence[Item]], float],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Rate:
    """A figure with its 95 % percentile interval over resamples (Efron 1979).

    For figures that have no formula of their own, such as a calibration error. What is biased
    upwards by noise, as that is, is so in every resample: the figure may lie at the lower end.

    Args:
        sample: independent cases, at least one.
        statistic: of a sample.
        draws: resamples, at least 40.
        seed: same seed, same interval.

    Raises:
        ValueError: no case, or too few resamples for the ends.
    """
    if not sample or draws < 40:
        raise ValueError(f"a bootstrap needs cases and 40 resamples, got {len(sample)}, {draws}")
    source = random.Random(seed)
    value = statistic(sample)
    drawn = sorted(statistic(source.choices(sample, k=len(sample))) for _ in range(draws))
    low, high = drawn[int(0.025 * draws)], drawn[math.ceil(0.975 * draws) - 1]
    return Rate(value, min(low, value), max(high, value), len(sample))
