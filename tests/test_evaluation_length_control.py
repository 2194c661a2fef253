from __future__ import annotations

import math
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cai.evaluation.intervals import mean_share
from cai.evaluation.length_control import Contest, length_controlled

lengths = st.floats(1, 500)
contests = st.lists(
    st.builds(Contest, st.floats(0.02, 0.98), lengths, lengths), min_size=3, max_size=30
)


def planted(effect: float, bias: float, n: int, source: random.Random) -> list[Contest]:
    """Contests of a model whose replies are longer, and win for that and for their worth."""
    made: list[Contest] = []
    for _ in range(n):
        longer = source.gauss(0.6, 0.5)
        wins = source.random() < sigmoid(effect + bias * longer)
        made.append(Contest(float(wins), 100 * math.exp(longer), 100))
    return made


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


@pytest.mark.parametrize("effect", [-0.8, 0.0, 0.8])
@pytest.mark.parametrize("bias", [0.0, 1.5])
def test_the_part_of_a_win_rate_that_length_does_not_explain_is_found(effect: float, bias: float):
    found = length_controlled(planted(effect, bias, 4000, random.Random(1)))

    assert found is not None
    assert found.value == pytest.approx(sigmoid(effect), abs=0.03)


def test_a_judge_that_counts_words_alone_sees_no_difference_at_equal_length():
    games = planted(0.0, 2.0, 2000, random.Random(2))
    plain = sum(one.p_a for one in games) / len(games)

    found = length_controlled(games)

    assert plain > 0.7
    assert found is not None and found.low < 0.5 < found.high


def test_the_interval_holds_the_planted_effect_as_often_as_it_says():
    source = random.Random(3)
    found = [length_controlled(planted(0.8, 1.0, 100, source)) for _ in range(200)]
    intervals = [one for one in found if one is not None]

    held = sum(one.low <= sigmoid(0.8) <= one.high for one in intervals)
    assert len(intervals) == 200
    assert 0.9 < held / 200 < 0.99


@pytest.mark.parametrize("n", [4, 10, 60])
@pytest.mark.parametrize("p", [0.5, 0.7, 0.99])
def test_verdicts_that_never_vary_leave_about_the_width_of_their_win_rate(n: int, p: float):
    found = length_controlled([Contest(p, 90 + 20 * (place % 2), 100) for place in range(n)])

    plain = mean_share([p] * n)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.03)
    assert found.low < p - 0.003 and p + 0.003 < found.high


@given(contests)
def test_which_model_is_named_first_does_not_matter(games: list[Contest]):
    found = length_controlled(games)
    turned = length_controlled([Contest(1 - p, other, one) for p, one, other in games])

    assume(found is not None and turned is not None)
    assert found is not None and turned is not None
    assert turned.value == pytest.approx(1 - found.value, abs=1e-6)
    assert turned.low == pytest.approx(1 - found.high, abs=1e-6)


@given(contests, st.floats(1, 50))
def test_the_unit_of_length_does_not_matter(games: list[Contest], unit: float):
    found = length_controlled(games)
    scaled = length_controlled([Contest(p, one * unit, other * unit) for p, one, other in games])

    assume(found is not None and scaled is not None)
    assert found is not None and scaled is not None
    assert scaled.value == pytest.approx(found.value, abs=1e-6)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), lengths)
def test_replies_of_equal_length_have_their_plain_win_rate(wins: list[float], length: float):
    found = length_controlled([Contest(p, length, length) for p in wins])

    assert found == mean_share(wins)


@pytest.mark.parametrize(
    "games",
    [
        [],
        [Contest(1.0, 10, 5), Contest(0.0, 5, 10)],
        [Contest(1.0, 10, 5)] * 9,
        [Contest(0.5, 10, 5)] * 9,
        [Contest(1.0, 10, 5), Contest(1.0, 8, 5), Contest(0.0, 4, 5), Contest(0.0, 2, 5)],
        [Contest(1.0, 10, 5), Contest(1.0, 3, 5), Contest(1.0, 4, 5)],
    ],
    ids=["none", "two", "one ratio", "ties at one ratio", "told by length", "always won"],
)
def test_where_no_fit_is_the_best_there_is_no_figure(games: list[Contest]):
    assert length_controlled(games) is None


def test_an_empty_reply_counts_as_one_of_length_1():
    source = random.Random(5)
    games = [Contest(source.random(), source.randrange(3), source.randrange(3)) for _ in range(30)]
    of_one = [Contest(p_a, max(a, 1), max(b, 1)) for p_a, a, b in games]
    assert games != of_one

    found = length_controlled(games)

    assert found is not None
    assert found == length_controlled(of_one)
