"""Resamples of what was judged of each two models, for the intervals of their scores.

A bootstrap draws prompts (Efron 1979): the comparisons of one prompt share its replies. By itself
it takes verdicts that are all alike for all that there are, were they one or a thousand. So in
every resample the share m of the wins of each two models is drawn again (a parametric bootstrap:
Efron & Tibshirani 1993, §6.5), as from so many counts, c, as tell what the prompts' own variance
leaves out:

    Beta(c m + 1, c (1 − m) + 1),   c = n m̃(1 − m̃) / (s̃² − s²)

with m̃ and s̃² the mean and variance of n prompts' verdicts together with z² imagined ones, half of
them wins, as `cai.evaluation.intervals.mean_share` has them for a win rate (Agresti & Coull 1998),
and s² the verdicts' own variance. So the interval of two models' scores is about that of their win
rate: of verdicts that never vary, c is the n' of that one; of n wins in n, c is n, and
Beta(n + 1, 1) has nearly Wilson's lower end; of as many wins as losses, c is endless, and the
bootstrap is enough.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cai.evaluation.intervals import Z
from cai.untyped import untyped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

ROUNDING = 1e-12
"""A variance that is no larger is none: what rounding has left of equal ones."""


def resampled_wins(wins_P_M_M: Array, number: int, source: Any) -> Array:
    """Wins of the row's model over the column's in resamples of the prompts, (D, M, M).

    Args:
        wins_P_M_M: those at each prompt: sums of probabilities.
        number: resamples, D.
        source: numpy's generator.
    """
    numpy = untyped("numpy")
    prompts = len(wins_P_M_M)
    counts_D_P = source.multinomial(prompts, [1 / prompts] * prompts, size=number)
    wins_D_M_M = numpy.tensordot(counts_D_P, wins_P_M_M, axes=1)
    games_D_M_M = wins_D_M_M + wins_D_M_M.swapaxes(1, 2)
    counts_M_M = _counts(wins_P_M_M)
    # Each two models once, where they meet and something is left to be drawn.
    drawn_D_M_M = numpy.triu(numpy.isfinite(counts_M_M) & (games_D_M_M > 0), 1)
    counts = numpy.broadcast_to(counts_M_M, games_D_M_M.shape)[drawn_D_M_M]
    games = games_D_M_M[drawn_D_M_M]
    share = wins_D_M_M[drawn_D_M_M] / games
    share = source.beta(counts * share + 1, counts * (1 - share) + 1)
    wins_D_M_M[drawn_D_M_M] = games * share
    wins_D_M_M.swapaxes(1, 2)[drawn_D_M_M] = games * (1 - share)
    return wins_D_M_M


def _counts(wins_P_M_M: Array) -> Array:
    """Counts that each share of wins is drawn again as from, c, (M, M); endless: it is not."""
    numpy = untyped("numpy")
    games_P_M_M = wins_P_M_M + wins_P_M_M.swapaxes(1, 2)
    met_P_M_M = games_P_M_M > 0
    shares_P_M_M = numpy.divide(wins_P_M_M, games_P_M_M, out=0 * games_P_M_M, where=met_P_M_M)
    n_M_M, total_M_M = met_P_M_M.sum(axis=0), shares_P_M_M.sum(axis=0)
    squares_M_M = (shares_P_M_M**2).sum(axis=0)
    some_M_M = numpy.maximum(n_M_M, 1)
    variance_M_M = squares_M_M / some_M_M - (total_M_M / some_M_M) ** 2
    middle_M_M = (total_M_M + Z**2 / 2) / (n_M_M + Z**2)
    whole_M_M = (squares_M_M + Z**2 / 2) / (n_M_M + Z**2) - middle_M_M**2
    more_M_M = whole_M_M - variance_M_M
    endless_M_M = numpy.full(n_M_M.shape, math.inf)
    of_counts_M_M = n_M_M * middle_M_M * (1 - middle_M_M)
    return numpy.divide(of_counts_M_M, more_M_M, out=endless_M_M, where=more_M_M > ROUNDING)
