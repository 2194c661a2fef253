"""Elo scores from pairwise judgements: the Bradley–Terry model by maximum likelihood."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cai.evaluation import rate
from cai.evaluation.elo import SCALE, EloFigures, Game, elo_figures, win_rates

NAMES = ("a", "b", "c", "d")


def scores(games: Sequence[Game], models: Sequence[str]) -> dict[str, float]:
    return {name: one.value for name, one in elo_figures(games, models, draws=40).elo.items()}


def won(better: str, worse: str, wins: int, losses: int) -> list[Game]:
    """So many games, each of a prompt of its own."""
    outcomes = [1.0] * wins + [0.0] * losses
    return [Game(better, worse, p, f"{better}{worse}{n}") for n, p in enumerate(outcomes)]


PROBABILITIES = st.floats(0.02, 0.98)
TOURNAMENTS = st.lists(
    st.tuples(*[PROBABILITIES] * 6).map(
        lambda ps: [
            (a, b, p)
            for (a, b), p in zip(
                [(a, b) for place, b in enumerate(NAMES) for a in NAMES[:place]], ps, strict=True
            )
        ]
    ),
    min_size=1,
    max_size=6,
)
"""What was judged of each two of four models, prompt by prompt."""


def games_of(rounds: Sequence[Sequence[tuple[str, str, float]]]) -> list[Game]:
    return [Game(a, b, p, str(n)) for n, one in enumerate(rounds) for a, b, p in one]


@pytest.mark.parametrize(
    ("share", "points"), [(0.5, 0.0), (0.75, 190.848), (0.9, 381.697), (0.25, -190.848)]
)
def test_a_share_of_wins_stands_for_so_many_points(share: float, points: float):
    games = [Game("new", "old", share, str(n)) for n in range(8)]

    assert scores(games, ["old", "new"]) == pytest.approx({"old": 0, "new": points}, abs=1e-3)


def test_soft_and_hard_outcomes_of_the_same_mean_give_the_same_score():
    hard = won("new", "old", 30, 10)
    soft = [Game("new", "old", 0.75, str(n)) for n in range(40)]

    assert scores(hard, ["old", "new"]) == pytest.approx(scores(soft, ["old", "new"]), abs=1e-3)


@given(TOURNAMENTS, st.permutations(NAMES))
@settings(max_examples=25)
def test_the_order_of_the_models_moves_nothing_but_the_zero(
    rounds: list[list[tuple[str, str, float]]], order: list[str]
):
    games = games_of(rounds)

    one, other = scores(games, NAMES), scores(games, order)

    shift = one[order[0]]
    assert other == pytest.approx({name: one[name] - shift for name in order}, abs=1e-2)


@given(TOURNAMENTS)
@settings(max_examples=25)
def test_turning_every_judgement_round_turns_every_score_round(
    rounds: list[list[tuple[str, str, float]]],
):
    games = games_of(rounds)
    turned = [Game(game.a, game.b, 1 - game.p_a, game.prompt) for game in games]

    assert scores(turned, NAMES) == pytest.approx(
        {name: -score for name, score in scores(games, NAMES).items()}, abs=1e-2
    )


@given(TOURNAMENTS)
@settings(max_examples=25)
def test_which_side_a_game_is_told_from_does_not_matter(
    rounds: list[list[tuple[str, str, float]]],
):
    games = games_of(rounds)
    swapped = [Game(game.b, game.a, 1 - game.p_a, game.prompt) for game in games]

    assert scores(swapped, NAMES) == pytest.approx(scores(games, NAMES), abs=1e-2)
    assert [rate.value for *_, rate in win_rates(swapped, NAMES)] == pytest.approx(
        [rate.value for *_, rate in win_rates(games, NAMES)]
    )


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=5))
@settings(max_examples=40)
def test_strengths_are_found_again_where_every_judgement_has_their_probability(
    strengths: list[float],
):
    names = [str(place) for place in range(len(strengths))]
    games = [
        Game(names[i], names[j], 1 / (1 + math.exp(strengths[j] - strengths[i])), "one prompt")
        for i in range(len(names))
        for j in range(i)
    ]

    found = scores(games, names)

    wanted = [SCALE * (strength - strengths[0]) for strength in strengths]
    assert list(found.values()) == pytest.approx(wanted, abs=0.01)


def drawn_games(source: random.Random, prompts: int, strengths: Sequence[float]) -> list[Game]:
    """Hard outcomes drawn from the model, a prompt for all pairs."""
    pairs = [(i, j) for i in range(len(strengths)) for j in range(i)]
    return [
        Game(
            NAMES[i],
            NAMES[j],
            float(source.random() < 1 / (1 + math.exp(strengths[j] - strengths[i]))),
            str(prompt),
        )
        for prompt in range(prompts)
        for i, j in pairs
    ]


def test_intervals_hold_the_true_strengths_about_as_often_as_they_say():
    strengths = (0.0, 0.8, -0.5)
    source, held, asked = random.Random(7), 0, 0
    for seed in range(60):
        figures = elo_figures(
            drawn_games(source, 50, strengths), NAMES[:3], draws=200, seed=seed
        ).elo
        for place in (1, 2):
            score = figures[NAMES[place]]
            held += score.low <= SCALE * strengths[place] <= score.high
            asked += 1

    found = rate(held, asked)
    assert found.low <= 0.95 and found.value >= 0.88


def test_more_prompts_give_a_narrower_interval_and_more_games_of_a_prompt_do_not():
    few = drawn_games(random.Random(1), 30, (0.0, 1.0))
    many = drawn_games(random.Random(1), 300, (0.0, 1.0))
    copied = [game for game in few for _ in range(10)]

    def width(games: list[Game]) -> float:
        score = elo_figures(games, NAMES[:2], draws=200).elo["b"]
        return score.high - score.low

    assert width(many) < 0.6 * width(few)
    assert width(copied) == pytest.approx(width(few), rel=1e-6)


def test_a_model_that_always_wins_gets_a_bound_and_a_note():
    figures = elo_figures(won("new", "old", 60, 0), ["old", "new"], draws=40)

    # 60 wins and a tie: 400 log10(60.5 / 0.5).
    assert figures.separated
    assert figures.elo["new"].value == pytest.approx(833.1, abs=0.1)
    assert "open upwards" in figures.notes[0]


@pytest.mark.parametrize("n", [5, 30, 100])
def test_unanimous_wins_leave_a_near_end_by_wilson_and_an_open_far_one(n: int):
    score = elo_figures(won("new", "old", n, 0), ["old", "new"]).elo["new"]

    near = rate(n, n).low
    assert score.low == pytest.approx(400 * math.log10(near / (1 - near)), abs=60)
    assert score.low < score.value - 200
    assert score.high > score.value + 200


def test_one_soft_verdict_says_neither_a_score_nor_a_rate():
    games = [Game("a", "b", 0.73, "p1")]

    score, (_, _, share) = elo_figures(games, NAMES[:2]).elo["b"], win_rates(games, NAMES)[0]

    assert score.low < -300 < 0 < 300 < score.high
    assert share.low < 0.2 < 0.9 < share.high


def test_a_few_verdicts_of_two_models_are_few_however_many_the_contest_has():
    many = [Game("a", "b", 0.7, str(n)) for n in range(60)]
    few = [Game("a", "c", 0.7, str(n)) for n in range(10)]

    score = elo_figures([*many, *few], NAMES[:3]).elo["c"]

    assert score.n == 10
    assert score.low < score.value - 100 and score.value + 100 < score.high


@pytest.mark.parametrize("p", [0.5, 0.75, 0.99])
@pytest.mark.parametrize("n", [10, 30, 100])
def test_verdicts_that_never_vary_leave_the_width_that_their_win_rate_has(n: int, p: float):
    games = [Game("new", "old", p, str(number)) for number in range(n)]

    score = elo_figures(games, ["old", "new"]).elo["new"]

    low, high = (1 / (1 + 10 ** (-end / 400)) for end in (score.low, score.high))
    rate_of_old = win_rates(games, ["old", "new"])[0][2]
    assert (1 - high, 1 - low) == pytest.approx((rate_of_old.low, rate_of_old.high), abs=0.04)
    assert score.low < score.value < score.high


def test_a_group_that_wins_every_game_against_another_is_told_too():
    games = [*won("a", "b", 3, 1), *won("c", "d", 3, 1), *won("a", "c", 5, 0), *won("b", "d", 5, 0)]

    figures = elo_figures(games, NAMES, draws=40)

    assert figures.separated
    assert all(math.isfinite(score.value) for score in figures.elo.values())


def test_probabilities_near_certainty_stay_finite():
    sure = [Game("a", "b", 1e-13, str(n)) for n in range(10)]
    between = [Game("b", "c", 0.9, str(n)) for n in range(10)]

    figures = elo_figures([*sure, *between], NAMES[:3], draws=40)

    assert all(math.isfinite(score.high) for score in figures.elo.values())
    assert figures.separated


def test_models_that_no_comparison_leads_to_have_no_score():
    games = [*won("a", "b", 3, 1), *won("c", "d", 3, 1)]

    figures = elo_figures(games, NAMES, draws=40)

    assert set(figures.elo) == {"a", "b"}
    assert figures.unconnected == ("c", "d")
    assert "no comparison leads to c, d" in figures.notes[0]


def test_a_chain_of_comparisons_is_enough():
    games = [*won("b", "a", 3, 1), *won("c", "b", 3, 1)]

    assert scores(games, ["a", "b", "c"]) == pytest.approx(
        {"a": 0, "b": 190.848, "c": 381.697}, abs=0.01
    )


@pytest.mark.parametrize(
    ("games", "message"),
    [
        ([], "no game"),
        ([Game("a", "z", 0.5, "1")], "a game of a and z"),
        ([Game("a", "a", 0.5, "1")], "a game of a and a"),
        ([Game("a", "b", 1.5, "1")], "between 0 and 1"),
        ([Game("a", "b", math.nan, "1")], "between 0 and 1"),
    ],
    ids=["none", "a stranger", "itself", "no probability", "no number"],
)
def test_what_is_no_contest_is_refused(games: list[Game], message: str):
    with pytest.raises(ValueError, match=message):
        elo_figures(games, ["a", "b"])


def test_a_win_rate_counts_prompts_and_probabilities():
    games = [Game("a", "b", 1, "1"), Game("b", "a", 1, "1"), Game("a", "b", 1, "2")]

    ((first, second, found),) = win_rates(games, ["a", "b"])

    assert (first, second, found.value, found.n) == ("a", "b", 0.75, 2)


def test_same_seed_same_intervals():
    games = drawn_games(random.Random(3), 40, (0.0, 1.0))

    def figures(seed: int) -> EloFigures:
        return elo_figures(games, NAMES[:2], draws=100, seed=seed)

    assert figures(1) == figures(1)
    assert figures(1).elo["b"].low != figures(2).elo["b"].low
