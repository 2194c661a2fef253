"""How good preference labels are: right, calibrated, and blind to the order of the replies."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cai.evaluation.intervals import Rate, Z, share_by_case
from cai.evaluation.observation import Observation, observe
from cai.records import Comparison
from cai.untyped import untyped

Truth = Callable[[Comparison], float | None]
"""The true P(a is better) of a comparison, in [0, 1]; None where it is not known."""

BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Labels whose p lies in [low, high): what they said on average, and what was true.

    Args:
        low: lower edge of p.
        high: upper edge; the last bin holds p = 1 too.
        mean_p: mean label; None in an empty bin.
        truth: mean true probability; None in an empty bin.
        n: number of labels.
    """

    low: float
    high: float
    mean_p: float | None
    truth: float | None
    n: int


@dataclass(frozen=True)
class LabelFigures:
    """Quality of a set of labels; what needs a truth is None without one.

    Labels of one prompt share its replies, so intervals count prompts: the `n` of a figure is of
    the prompts that it was measured on.

    Args:
        n: number of comparisons.
        accuracy: share whose likelier side is the truly likelier one; a label of exactly 0.5
            counts half, pairs whose truth is exactly 0.5 have no right side and are left out.
        brier: mean over pairs of E(p − y)², y drawn from the truth q: (p − q)² + q(1 − q).
        brier_floor: mean q(1 − q), which even perfect labels cannot go below.
        ece: expected calibration error, the mean of |label − truth| over bins, by their n:
            Σ_b n_b/n |p̄_b − q̄_b|  (Naeini et al. 2015; Guo et al. 2017, §2).
        ece_interval: the same with its interval, see `calibration_interval`.
        bins: the reliability diagram, ten bins of p; empty without a truth.
        flip_rate: share of pairs, asked in both orders, whose orders prefer different replies, and
            so the same position ("% same position preferred", Lee et al. 2023, App. B).
        sided_flip_rate: the same among pairs of which the judge takes a side in one of the orders:
            near-ties flip by the smallest noise, see `cai.evaluation.observation.NEAR_TIE`.
        flips_to_first: share of the flips in which what stood first is preferred both times.
        position_first: share of single askings that prefer whichever reply stood first (of two,
            0.5 is no preference; ties count half).
        mass: mean probability that the judge gave to the two options together.
        by_principle: the same figures for each principle's labels, without bins.
    """

    n: int
    accuracy: Rate | None = None
    brier: Rate | None = None
    brier_floor: float | None = None
    ece: float | None = None
    ece_interval: Rate | None = None
    bins: Sequence[ReliabilityBin] = ()
    flip_rate: Rate | None = None
    sided_flip_rate: Rate | None = None
    flips_to_first: Rate | None = None
    position_first: Rate | None = None
    mass: Rate | None = None
    by_principle: Mapping[str, LabelFigures] = field(default_factory=dict[str, "LabelFigures"])

    def to_json(self) -> dict[str, Any]:
        """The shape of ``labels`` in `metrics.json`.

        `brier` and `ece` are numbers, with their intervals beside them.
        """
        return {
            "n": self.n,
            "accuracy": _json(self.accuracy),
            "brier": self.brier.value if self.brier else None,
            "brier_interval": _json(self.brier),
            "brier_floor": self.brier_floor,
            "ece": self.ece,
            "ece_interval": _json(self.ece_interval),
            "bins": [vars(one) for one in self.bins],
            "flip_rate": _json(self.flip_rate),
            "sided_flip_rate": _json(self.sided_flip_rate),
            "flips_to_first": _json(self.flips_to_first),
            "position_first": _json(self.position_first),
            "mass": _json(self.mass),
            "by_principle": {name: one.to_json() for name, one in self.by_principle.items()},
        }


def label_figures(comparisons: Iterable[Comparison], truth: Truth | None = None) -> LabelFigures:
    """Measure labels, against a truth where there is one.

    Args:
        comparisons: labelled pairs; read once.
        truth: P(a is better) of a pair, if known.
    """
    return figures_of(observe(one, truth(one) if truth else None) for one in comparisons)


def figures_of(observations: Iterable[Observation]) -> LabelFigures:
    """Measure labels that are observed already.

    Args:
        observations: read once.
    """
    seen = list(observations)
    by_principle: defaultdict[str, list[Observation]] = defaultdict(list)
    for one in seen:
        for principle in filter(None, one.principle.split(" + ")):
            by_principle[principle].append(one)
    parts = {name: _figures(by_principle[name]) for name in sorted(by_principle)}
    return _figures(seen, bins=reliability(seen), by_principle=parts)


def _figures(
    seen: Sequence[Observation],
    *,
    bins: Sequence[ReliabilityBin] = (),
    by_principle: Mapping[str, LabelFigures] | None = None,
) -> LabelFigures:
    floors = [one.floor for one in seen if one.floor is not None]

    def share(of: Callable[[Observation], Iterable[float | None]]) -> Rate | None:
        values = ((one.prompt, value) for one in seen for value in of(one))
        return share_by_case((prompt, value) for prompt, value in values if value is not None)

    return LabelFigures(
        n=len(seen),
        accuracy=share(lambda one: [one.credit]),
        brier=share(lambda one: [one.error]) if len(floors) > 1 else None,
        brier_floor=math.fsum(floors) / len(floors) if floors else None,
        ece=calibration_error(bins),
        ece_interval=calibration_interval(_known(seen), cases=_cases(seen)) if bins else None,
        bins=bins,
        flip_rate=share(lambda one: [one.flipped]),
        sided_flip_rate=share(lambda one: [one.flipped] if one.sided else []),
        flips_to_first=share(lambda one: [one.flipped_to_first]),
        position_first=share(lambda one: one.first_preferred),
        mass=share(lambda one: [min(mass, 1.0) for mass in one.masses]),
        by_principle=by_principle or {},
    )


def calibration_error(bins: Sequence[ReliabilityBin]) -> float | None:
    """Expected calibration error:  Σ_b n_b/n |p̄_b − q̄_b|  (Guo et al. 2017, §2).

    Args:
        bins: the reliability diagram; empty bins count nothing.

    Returns:
        In [0, 1]; None if no bin holds a label.
    """
    total = sum(one.n for one in bins)
    gaps = [
        one.n * abs(one.mean_p - one.truth)
        for one in bins
        if one.mean_p is not None and one.truth is not None
    ]
    return math.fsum(gaps) / total if total else None


def calibration_interval(
    labels: Sequence[tuple[float, float]],
    low: float = 0.0,
    *,
    cases: Sequence[Hashable],
    draws: int = 1000,
    seed: int = 0,
) -> Rate:
    """The calibration error with a percentile interval over resamples of the cases (Efron 1979).

    In a resample z² of n + z² cases have imagined truths, 0 or 1 alike, as Wilson's interval has
    them (see `cai.evaluation.intervals.mean_share`): a few labels that are right by chance are not
    known to be. Noise makes the error larger, in every resample too: it may lie at the interval's
    lower end.

    Args:
        labels: (p, true probability), p in [low, 1]; at least one.
        low: least p, as of `reliability_bins`.
        cases: names what each label is about; labels of one case are drawn together.
        draws: resamples.
        seed: same seed, same interval.
    """
    numpy = untyped("numpy")
    held: defaultdict[Hashable, list[int]] = defaultdict(list)
    for place, case in enumerate(cases):
        held[case].append(place)
    source, n = numpy.random.default_rng(seed), len(held)
    # The labels, case by case: each case is then a stretch of them.
    order_N = numpy.array([place for places in held.values() for place in places])
    size_C = numpy.array([len(places) for places in held.values()])
    start_C = numpy.cumsum(size_C) - size_C
    p_N, truth_N = numpy.array(labels)[order_N].T
    place_N = numpy.array([_place(p, low) for p in p_N])
    drawn: list[float] = []
    for _ in range(draws):
        chosen_C = source.integers(n, size=n)
        imagined_C = source.random(n) * (n + Z**2) < Z**2
        sizes_C = size_C[chosen_C]
        # Each drawn case's labels: its start, and one further for each of them.
        offset_C = start_C[chosen_C] - (numpy.cumsum(sizes_C) - sizes_C)
        label_N = numpy.repeat(offset_C, sizes_C) + numpy.arange(sizes_C.sum())
        imagined_N, coin_N = (
            numpy.repeat(of_C, sizes_C) for of_C in (imagined_C, source.integers(2, size=n))
        )
        true_N = numpy.where(imagined_N, coin_N, truth_N[label_N])
        gaps_B = numpy.bincount(place_N[label_N], weights=p_N[label_N] - true_N)
        drawn.append(float(numpy.abs(gaps_B).sum()) / len(label_N))
    value = calibration_error(reliability_bins(labels, low)) or 0.0
    least, most = numpy.quantile(drawn, (0.025, 0.975)).tolist()
    return Rate(value, min(least, value), max(most, value), n)


def reliability(seen: Sequence[Observation]) -> list[ReliabilityBin]:
    """The reliability diagram: ten bins of p; empty if no truth is known."""
    known = _known(seen)
    return reliability_bins(known) if known else []


def _known(seen: Sequence[Observation]) -> list[tuple[float, float]]:
    return [(one.p, one.truth) for one in seen if one.truth is not None]


def _cases(seen: Sequence[Observation]) -> list[str]:
    return [one.prompt for one in seen if one.truth is not None]


def reliability_bins(
    labels: Sequence[tuple[float, float]], low: float = 0.0
) -> list[ReliabilityBin]:
    """Ten bins of p from `low` to 1.

    Args:
        labels: (p, true probability), p in [low, 1].
        low: least p.
    """
    held: list[list[tuple[float, float]]] = [[] for _ in range(BINS)]
    for p, truth in labels:
        held[_place(p, low)].append((p, truth))
    return [
        ReliabilityBin(
            low=low + index * (1 - low) / BINS,
            high=low + (index + 1) * (1 - low) / BINS,
            mean_p=_mean([p for p, _ in pairs]) if pairs else None,
            truth=_mean([q for _, q in pairs]) if pairs else None,
            n=len(pairs),
        )
        for index, pairs in enumerate(held)
    ]


def _place(p: float, low: float) -> int:
    return min(int((p - low) / (1 - low) * BINS), BINS - 1)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _json(figure: Rate | None) -> dict[str, Any] | None:
    return figure.to_json() if figure else None
