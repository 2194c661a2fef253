"""How far a text lies from those that a detector knows: HH-RLHF (Bai et al. 2022b), §5.4, App. B.9.

Both detectors read one vector a text, such as a middle layer's activations. The first knows
ordinary texts alone; the second has seen a few outliers, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cai.errors import MissingDependency
from cai.evaluation.intervals import Rate, mean_share, share_worth

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float64]
    """One row a text: (n, d)."""

Score = Callable[["Vectors"], "Vectors"]
"""Gives a number for each vector, (n,); the higher, the further out."""

FEWEST = 20
"""Texts that a detector is fitted on at least."""


@dataclass(frozen=True)
class Ordinary:
    """The spread of ordinary vectors.

    Args:
        mean: (d,).
        precision: inverse of their covariance, shrunk by Ledoit and Wolf (2004), (d, d).
        variance: the diagonal of that covariance, (d,), above 0.
    """

    mean: Vectors
    precision: Vectors
    variance: Vectors

    def score(self, vectors: Vectors) -> Vectors:
        """The simplified relative Mahalanobis distance of each vector, (n,); it may be negative.

            s(x) = (x − μ)ᵀ Σ⁻¹ (x − μ) − Σ_i (x_i − μ_i)² / Σ_ii     (HH-RLHF, §5.4, B.9)

        What lies far out along every axis by itself is subtracted: left is how much a vector
        breaks with what goes together in ordinary ones.
        """
        gap = vectors - self.mean
        return ((gap @ self.precision) * gap).sum(1) - (gap**2 / self.variance).sum(1)


def fit_ordinary(vectors: Vectors) -> Ordinary:
    """Learn the spread of ordinary vectors.

    Args:
        vectors: (n, d), at least `FEWEST`; n may be less than d.

    Raises:
        ValueError: there are too few.
        MissingDependency: scikit-learn is not installed.
    """
    _check_enough(len(vectors))
    covariance = _imported("sklearn.covariance").LedoitWolf().fit(vectors)
    matrix = covariance.covariance_
    return Ordinary(covariance.location_, covariance.precision_, matrix.diagonal().copy())


def fit_probe(ordinary: Vectors, outliers: Vectors) -> Score:
    """Learn to tell a few outliers from ordinary vectors: few-shot outlier exposure (B.9).

    A linear probe (logistic regression on standardised vectors) in which each of M outliers is
    repeated ⌊N/M⌋ times, so that both sides weigh the same.

    Args:
        ordinary: (N, d), at least `FEWEST`.
        outliers: (M, d), from 1 to N; the paper has 10.

    Returns:
        The log-odds of being an outlier.

    Raises:
        ValueError: there are too few ordinary ones, or no outlier, or more than ordinary ones.
        MissingDependency: scikit-learn is not installed.
    """
    import numpy as np

    _check_enough(len(ordinary))
    if not 1 <= len(outliers) <= len(ordinary):
        raise ValueError(f"give from 1 to {len(ordinary)} outliers, got {len(outliers)}")
    repeated = np.repeat(outliers, len(ordinary) // len(outliers), axis=0)
    spread = ordinary.std(0) + 1e-8
    seen = (np.concatenate([ordinary, repeated]) - ordinary.mean(0)) / spread
    labels = np.repeat([0, 1], [len(ordinary), len(repeated)])
    probe = _imported("sklearn.linear_model").LogisticRegression(max_iter=2000).fit(seen, labels)
    return lambda vectors: probe.decision_function((vectors - ordinary.mean(0)) / spread)


def separation(ordinary: Sequence[float], outliers: Sequence[float]) -> Rate:
    """AUROC: how likely an outlier scores higher than an ordinary text, ties half (Hanley 1982).

    Its variance is that of DeLong et al. (1988), s²/m + s²/n, of the share of the other side that
    each text is in order with. The interval is Wilson's, for as many cases as that makes it worth:
    for those of the smaller side where all are in order, so that it always has a width.

    Args:
        ordinary: scores of texts that no detector was fitted on, at least one.
        outliers: likewise.

    Returns:
        0.5 if the score says nothing; `n` is the number of texts on the smaller side.
    """
    import numpy as np

    low, high = np.sort(ordinary), np.sort(outliers)
    below, above = _share_below(low, high), 1 - _share_below(high, low)
    area = min(max(float(below.mean()), 0.0), 1.0)
    variance = float(below.var() / len(high) + above.var() / len(low))
    fewest = min(len(low), len(high))
    return share_worth(area, min(variance * fewest, area * (1 - area)), worth=fewest, n=fewest)


def alarms(share: float, ordinary: Sequence[float], scores: Sequence[float]) -> Vectors:
    """Which scores are flagged where a share of ordinary texts may be.

    Args:
        share: of ordinary texts, in [0, 1], such as 0.05.
        ordinary: scores of texts that the detector was not fitted on, at least one.
        scores: of other texts.

    Returns:
        1 for what is flagged, else 0, (3, n): at the threshold as it was found, and at the upper
        and the lower end of its 95 % interval. Of n ordinary texts a binomial number lies above
        the true threshold, so two of the sorted scores are its ends, whatever their distribution;
        with too few texts an end is infinite.
    """
    import numpy as np

    binomial: Any = _imported("scipy.stats").binom(len(ordinary), share)
    above, below = int(binomial.ppf(0.025)), int(binomial.ppf(0.975)) + 1
    ends = np.concatenate([[np.inf], np.sort(ordinary)[::-1], [-np.inf]])
    found = (np.quantile(ordinary, 1 - share), ends[above], ends[below])
    return np.array([np.asarray(scores) > threshold for threshold in found], dtype=float)


def flagged(found: Vectors) -> Rate | None:
    """Share of texts that are flagged, where the threshold was estimated, too.

    The interval joins that of the share at this threshold with how the share changes between the
    ends of the threshold's own, by the sum of their squares, as Newcombe's hybrid (1998) does for
    a difference; Zou and Donner (2008) have the general case.

    Args:
        found: as `alarms` gives them, (3, n); means of several detectors' where each text was
            tried with several.

    Returns:
        With the number of texts as `n`; None if there are none.
    """
    if not found.shape[1]:
        return None
    at = mean_share(found[0].tolist())
    fewest, most = float(found[1].mean()), float(found[2].mean())
    low = at.value - math.hypot(at.value - at.low, max(at.value - fewest, 0))
    high = at.value + math.hypot(at.high - at.value, max(most - at.value, 0))
    return Rate(at.value, max(low, 0.0), min(high, 1.0), at.n)


def _share_below(others: Vectors, scores: Vectors) -> Vectors:
    """For each score the share of sorted others that are lower, ties half."""
    places = others.searchsorted(scores, "left") + others.searchsorted(scores, "right")
    return places / (2 * len(others))


def _check_enough(n: int) -> None:
    if n < FEWEST:
        raise ValueError(f"a detector is fitted on at least {FEWEST} texts, got {n}")


def _imported(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependency("scikit-learn", "outliers") from error
