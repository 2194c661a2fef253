"""Elo scores of models from pairwise judgements (Bai et al. 2022b, §2.4; Bai et al. 2022, Fig. 2).

The Bradley–Terry model, fitted by maximum likelihood to judgements that stay probabilities:

    P(i better than j) = σ(s_i − s_j)
    maximise  Σ p log σ(s_i − s_j) + (1 − p) log σ(s_j − s_i),   Elo_i = 400/ln 10 · (s_i − s_0)

so that a model which is preferred 75 % of the time stands 190.8 above the other. The first model
stands at 0. What the likelihood leaves open is told, and never becomes a number in silence:

- Models that no chain of comparisons leads to from the first one have no score.
- If a group of models wins each and every comparison with the others, the likelihood has no
  maximum (Ford 1957). Then each two models that were compared get one tie more, and this is told:
  the scores are finite, and how far apart the groups are is at least so much.

Intervals are a bootstrap's over prompts, in which the share of wins of each two models is drawn
again (see `cai.evaluation.resampled_wins`): few verdicts, and many that are all alike, leave a
width. A resample that still has no maximum gets drawn wins, of the exponential distribution with
mean 1, on both sides of each two models.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cai.evaluation.intervals import Rate, mean_share
from cai.evaluation.resampled_wins import resampled_wins
from cai.untyped import untyped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

SCALE = 400 / math.log(10)
"""Elo points of one nat."""

LONGEST_STEP = 2.0
"""Of Newton's method, in nats: from afar a whole step may lead astray."""
MOST_STEPS = 500
"""Before a fit is given up; some ten are usual."""
CLOSE = 1e-6
"""A step of so many nats, 0.0002 points, ends the fit."""
NO_WIN = 1e-9
"""A share of the wins that is no more than this is none: it would stand for 3,600 points."""
DRAWS_AT_ONCE = 100
"""Resamples that are in memory together."""


@dataclass(frozen=True)
class Game:
    """What was judged of two models' replies to one prompt.

    Args:
        a: name of one model.
        b: of the other.
        p_a: probability that a's reply is the better one, in [0, 1]; a half is a tie.
        prompt: names the prompt; games of one prompt are resampled together.
    """

    a: str
    b: str
    p_a: float
    prompt: str


@dataclass(frozen=True)
class EloFigures:
    """Scores of models that were compared.

    Args:
        elo: of each model that has one, with its 95 % interval; `n` is its number of prompts.
        unconnected: models that no comparison leads to from the first one: they have no score.
        separated: whether a group of models won every comparison with the others, so that one tie
            for each two models was added and the distance is a lower bound.
    """

    elo: Mapping[str, Rate]
    unconnected: tuple[str, ...] = ()
    separated: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the scores, in sentences."""
        notes: list[str] = []
        if self.unconnected:
            names = ", ".join(self.unconnected)
            notes.append(f"no comparison leads to {names}, so there is no score")
        if self.separated:
            notes.append(
                "some models won every comparison with the others: one tie for each two models was "
                "added, and how far they are apart is open upwards"
            )
        return tuple(notes)


def elo_figures(
    games: Iterable[Game], models: Sequence[str], *, draws: int = 1000, seed: int = 0
) -> EloFigures:
    """Fit Elo scores, with percentile intervals of a bootstrap over prompts (Efron 1979).

    Prompts are drawn, not games: the comparisons of one prompt share its replies.

    Args:
        games: the judgements.
        models: names; the first one is the zero.
        draws: resamples, at least 40.
        seed: same seed, same intervals.

    Raises:
        ValueError: there is no game, a game of a model that is not named or with itself, a
            probability outside [0, 1], or too few resamples.
    """
    numpy = untyped("numpy")
    if draws < 40:
        raise ValueError(f"a bootstrap needs 40 resamples at least, got {draws}")
    wins_P_M_M = _wins_by_prompt(games, models)
    wins_M_M = wins_P_M_M.sum(axis=0)
    there = _connected(wins_M_M)
    wins_P_M_M = wins_P_M_M[:, there][:, :, there]
    named = [models[place] for place in there]
    whole_1_M_M = wins_P_M_M.sum(axis=0, keepdims=True)
    ties_M_M = _ties(whole_1_M_M[0])
    values_M = _fit(whole_1_M_M, 0.5 * ties_M_M)[0] * SCALE
    drawn_D_M = _resampled(wins_P_M_M, ties_M_M, draws, seed) * SCALE
    lows_M, highs_M = numpy.quantile(drawn_D_M, (0.025, 0.975), axis=0)
    met_P_M = (wins_P_M_M + wins_P_M_M.swapaxes(1, 2)).any(axis=2)
    prompts: list[int] = met_P_M.sum(axis=0).tolist()
    elo = {
        name: Rate(value, min(low, value), max(high, value), n)
        for name, value, low, high, n in zip(
            named, values_M.tolist(), lows_M.tolist(), highs_M.tolist(), prompts, strict=True
        )
    }
    unconnected = tuple(name for name in models if name not in elo)
    return EloFigures(elo, unconnected, bool(_separated(whole_1_M_M)[0]))


def win_rates(games: Iterable[Game], models: Sequence[str]) -> list[tuple[str, str, Rate]]:
    """How often each model's reply is the better one, by every two that were compared.

    A judgement counts with its probability, so a tie counts half. The unit is the prompt: of
    several judgements about one prompt the mean counts (see `cai.evaluation.intervals.mean_share`).

    Args:
        games: the judgements, in either direction.
        models: names; a pair is told in their order.

    Returns:
        First model, second model, and P(the first one's reply is better).
    """
    places = {name: place for place, name in enumerate(models)}
    found: dict[tuple[int, int], dict[str, list[float]]] = {}
    for game in games:
        first, second, p = places[game.a], places[game.b], game.p_a
        if first > second:
            first, second, p = second, first, 1 - p
        found.setdefault((first, second), {}).setdefault(game.prompt, []).append(p)
    return [
        (models[first], models[second], _rate_of(by_prompt))
        for (first, second), by_prompt in sorted(found.items())
    ]


def _rate_of(by_prompt: Mapping[str, Sequence[float]]) -> Rate:
    return mean_share([math.fsum(ps) / len(ps) for ps in by_prompt.values()])


def _wins_by_prompt(games: Iterable[Game], models: Sequence[str]) -> Array:
    """Wins of the row's model over the column's, at each prompt, (P, M, M)."""
    numpy = untyped("numpy")
    places = {name: place for place, name in enumerate(models)}
    prompts: dict[str, int] = {}
    listed: list[tuple[int, int, int, float]] = []
    for game in games:
        if game.a not in places or game.b not in places or game.a == game.b:
            raise ValueError(f"a game of {game.a} and {game.b} is none of {', '.join(models)}")
        if not 0 <= game.p_a <= 1:
            raise ValueError(f"a probability lies between 0 and 1, got {game.p_a}")
        prompt = prompts.setdefault(game.prompt, len(prompts))
        listed.append((prompt, places[game.a], places[game.b], game.p_a))
    if not listed:
        raise ValueError("there is no game to fit scores to")
    wins_P_M_M = numpy.zeros((len(prompts), len(models), len(models)))
    for prompt, a, b, p_a in listed:
        wins_P_M_M[prompt, a, b] += p_a
        wins_P_M_M[prompt, b, a] += 1 - p_a
    return wins_P_M_M


def _ties(wins_M_M: Array) -> Array:
    """1 for each side of every two models that were compared; half of it is a tie."""
    return ((wins_M_M + wins_M_M.T) > 0) * 1.0


def _connected(wins_M_M: Array) -> list[int]:
    """Places of the models that comparisons lead to from the first one, itself among them."""
    reached_M_M = _reached((wins_M_M + wins_M_M.T)[None] > 0)[0]
    return [place for place, there in enumerate(reached_M_M[0]) if there]


def _separated(wins_D_M_M: Array) -> Array:
    """Whether the likelihood has no maximum: not every model has, over others, beaten every one."""
    games_D_M_M = wins_D_M_M + wins_D_M_M.swapaxes(1, 2)
    reached_D_M_M = _reached(wins_D_M_M > NO_WIN * games_D_M_M)
    return untyped("numpy").logical_not(reached_D_M_M.all(axis=(1, 2)))


def _reached(edges_D_M_M: Array) -> Array:
    """From which model, over any number of edges, which other one is reached; each from itself."""
    numpy = untyped("numpy")
    models = edges_D_M_M.shape[-1]
    reached_D_M_M: Array = edges_D_M_M | numpy.eye(models, dtype=bool)
    for _ in range(models.bit_length()):  # Ways of twice the length each time.
        ways_D_M_M = reached_D_M_M.astype(float)
        reached_D_M_M = numpy.greater(ways_D_M_M @ ways_D_M_M, 0)
    return reached_D_M_M


def _resampled(wins_P_M_M: Array, ties_M_M: Array, draws: int, seed: int) -> Array:
    """Scores of resamples of the prompts, in nats, (D, M)."""
    numpy = untyped("numpy")
    source = numpy.random.default_rng(seed)
    fitted: list[Array] = []
    for begin in range(0, draws, DRAWS_AT_ONCE):
        wins_D_M_M = resampled_wins(wins_P_M_M, min(DRAWS_AT_ONCE, draws - begin), source)
        extra_D_M_M = ties_M_M * source.exponential(size=wins_D_M_M.shape)
        fitted.append(_fit(wins_D_M_M, extra_D_M_M))
    return numpy.concatenate(fitted)


def _fit(wins_D_M_M: Array, extra_D_M_M: Array) -> Array:
    """Scores of greatest likelihood, in nats, the first model's 0, (D, M): Newton's method.

    Args:
        wins_D_M_M: of the row's model over the column's; of D samples.
        extra_D_M_M: wins added to the samples that have no greatest likelihood.
    """
    numpy = untyped("numpy")
    wins_D_M_M = wins_D_M_M + _separated(wins_D_M_M)[:, None, None] * extra_D_M_M
    games_D_M_M = wins_D_M_M + wins_D_M_M.swapaxes(1, 2)
    scores_D_M = numpy.zeros(wins_D_M_M.shape[:2])
    if scores_D_M.shape[1] < 2:
        return scores_D_M
    for _ in range(MOST_STEPS):
        apart_D_M_M = scores_D_M[:, :, None] - scores_D_M[:, None, :]
        better_D_M_M = 1 / (1 + numpy.exp(-apart_D_M_M))
        worse_D_M_M = better_D_M_M.swapaxes(1, 2)
        # Not wins less what was expected: of two numbers that are nearly equal little is left.
        slopes_D_M = (wins_D_M_M * worse_D_M_M - wins_D_M_M.swapaxes(1, 2) * better_D_M_M).sum(2)
        bends_D_M_M = -games_D_M_M * better_D_M_M * worse_D_M_M
        places = numpy.arange(scores_D_M.shape[1])
        bends_D_M_M[:, places, places] = -bends_D_M_M.sum(2)
        steps_D_M = numpy.linalg.solve(bends_D_M_M[:, 1:, 1:], slopes_D_M[:, 1:, None])[..., 0]
        longest_D_1 = numpy.abs(steps_D_M).max(axis=1, keepdims=True)
        scores_D_M[:, 1:] += steps_D_M * numpy.minimum(1, LONGEST_STEP / (longest_D_1 + CLOSE))
        if longest_D_1.max() < CLOSE:
            return scores_D_M
    raise ArithmeticError(f"Elo scores have not settled in {MOST_STEPS} steps")
