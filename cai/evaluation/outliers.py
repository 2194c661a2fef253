"""How far a text lies from those that a detector knows: HH-RLHF (Bai et al. 2022b), §5.4, App. B.9.

Both detectors read one vector a text, such as a middle layer's activations. The first knows
ordinary texts alone; the second has seen a few outliers, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cai.errors import MissingDependency
from cai.evaluation.intervals import Rate, bootstrapped, share_of

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
    covariance = _sklearn("covariance").LedoitWolf().fit(vectors)
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
    probe = _sklearn("linear_model").LogisticRegression(max_iter=2000).fit(seen, labels)
    return lambda vectors: probe.decision_function((vectors - ordinary.mean(0)) / spread)


def separation(ordinary: Sequence[float], outliers: Sequence[float]) -> Rate:
    """AUROC: how likely an outlier scores higher than an ordinary text, ties half (Hanley 1982).

    Args:
        ordinary: scores of texts that no detector was fitted on, at least one.
        outliers: likewise.

    Returns:
        0.5 if the score says nothing; with an interval by bootstrap, both sides drawn anew.
    """
    cases = [(score, False) for score in ordinary] + [(score, True) for score in outliers]
    return bootstrapped(cases, _auroc)


def flagged(threshold: float, scores: Sequence[float]) -> Rate | None:
    """Share of the scores above a threshold; None if there are none."""
    return share_of([score > threshold for score in scores])


def threshold_at(share: float, ordinary: Sequence[float]) -> float:
    """The score that this share of ordinary texts exceeds.

    Args:
        share: in (0, 1), such as 0.05.
        ordinary: scores of texts that the detector was not fitted on.
    """
    import numpy as np

    return float(np.quantile(ordinary, 1 - share))


def _auroc(cases: Sequence[tuple[float, bool]]) -> float:
    """Mann and Whitney's statistic, from the ranks; ½ for a resample that lacks a side."""
    import numpy as np

    scores = np.array([score for score, _ in cases])
    out = np.array([is_out for _, is_out in cases])
    n = int(out.sum())
    if n in (0, len(cases)):
        return 0.5
    _, place, equal = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(equal) - (equal - 1) / 2)[place]
    return float((rank[out].sum() - n * (n + 1) / 2) / (n * (len(cases) - n)))


def _check_enough(n: int) -> None:
    if n < FEWEST:
        raise ValueError(f"a detector is fitted on at least {FEWEST} texts, got {n}")


def _sklearn(module: str) -> Any:
    try:
        return import_module(f"sklearn.{module}")
    except ImportError as error:
        raise MissingDependency("scikit-learn", "outliers") from error
