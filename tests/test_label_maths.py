"""What a judge said becomes a probability by the papers' formulas."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.stages.label_maths import (
    RATINGS,
    best_and_worst,
    clamped,
    expected_rating,
    mean_probability,
    mean_wins,
    option_shares,
    orders_agree,
    pairs_of,
    preference,
    rated_preference,
    rating_reward,
    rating_shares,
)

LOGPROBS = st.floats(-50, 0)
TEN = st.lists(LOGPROBS, min_size=10, max_size=10)
P = st.floats(0, 1)


@given(a=st.floats(-2000, 0), b=st.floats(-2000, 0))
def test_a_preference_and_its_swap_sum_to_one(a: float, b: float):
    assert preference(a, b) + preference(b, a) == pytest.approx(1)


@given(a=LOGPROBS, b=LOGPROBS, shift=LOGPROBS)
def test_only_the_difference_of_the_logprobs_matters(a: float, b: float, shift: float):
    assert preference(a + shift, b + shift) == pytest.approx(preference(a, b), abs=1e-9)


@given(share=st.floats(0.001, 0.999), mass=st.floats(0.001, 1))
def test_a_preference_is_the_first_options_share_of_both(share: float, mass: float):
    p = preference(math.log(share * mass), math.log((1 - share) * mass))

    assert p == pytest.approx(share)


def test_a_preference_of_odds_of_three_is_three_quarters():
    assert preference(math.log(0.6), math.log(0.2)) == pytest.approx(0.75)


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_an_unweighed_answer_makes_no_preference(bad: float):
    with pytest.raises(ValueError, match="finite"):
        preference(0.0, bad)


@given(votes=st.lists(P, min_size=1))
def test_the_mean_of_votes_lies_between_them(votes: list[float]):
    assert min(votes) - 1e-12 <= mean_probability(votes) <= max(votes) + 1e-12


@given(a=st.floats(-700, 0), b=st.floats(-700, 0))
def test_a_judge_that_always_says_the_same_letter_makes_an_exact_tie(a: float, b: float):
    assert mean_probability([preference(a, b), preference(b, a)]) == 0.5


def test_no_votes_have_no_mean():
    with pytest.raises(ValueError, match="no vote"):
        mean_probability([])


@pytest.mark.parametrize(
    ("first", "second", "agree"),
    [(0.9, 0.6, True), (0.9, 0.4, False), (0.1, 0.2, True), (0.5, 0.1, True), (0.5, 0.9, True)],
)
def test_orders_agree_where_they_prefer_the_same_reply(first: float, second: float, agree: bool):
    assert orders_agree(first, second) is agree


@given(p=P)
def test_clamping_holds_p_between_the_bounds_and_leaves_what_is_there(p: float):
    held = clamped(p, (0.4, 0.6))

    assert 0.4 <= held <= 0.6
    assert held == p or not 0.4 < p < 0.6
    assert clamped(p, None) == p


@pytest.mark.parametrize(("p", "held"), [(0.51, 1), (0.49, 0), (0.5, 0.5), (1, 1)])
def test_a_hard_label_is_sure_of_the_likelier_reply_and_leaves_a_tie(p: float, held: float):
    assert clamped(p, "hard") == held


@given(p=P, q=P)
def test_clamping_keeps_the_order(p: float, q: float):
    low, high = sorted((p, q))

    assert clamped(low, (0.4, 0.6)) <= clamped(high, (0.4, 0.6))


def test_equal_shares_rate_five_and_a_half_and_reward_nothing():
    shares = rating_shares([-3.0] * 10)

    assert expected_rating(shares) == pytest.approx(5.5)
    assert rating_reward(5.5) == pytest.approx(0)


@pytest.mark.parametrize(("rating", "reward"), [(1, -1.0), (10, 1.0)])
def test_a_sure_rating_is_its_number_and_the_ends_reward_one(rating: int, reward: float):
    shares = rating_shares([0.0 if number == rating else -500.0 for number in RATINGS])

    assert expected_rating(shares) == pytest.approx(rating)
    assert rating_reward(expected_rating(shares)) == pytest.approx(reward)


@given(logprobs=TEN)
def test_shares_sum_to_one_whatever_mass_the_numbers_had(logprobs: list[float]):
    shares = rating_shares(logprobs)

    assert math.fsum(shares) == pytest.approx(1)
    assert shares == pytest.approx(rating_shares([logprob - 7 for logprob in logprobs]))
    assert 1 - 1e-9 <= expected_rating(shares) <= 10 + 1e-9


@given(a=TEN, b=TEN)
def test_a_rated_preference_and_its_swap_sum_to_one(a: list[float], b: list[float]):
    shares_a, shares_b = rating_shares(a), rating_shares(b)

    total = rated_preference(shares_a, shares_b) + rated_preference(shares_b, shares_a)

    assert total == pytest.approx(1)
    assert rated_preference(shares_a, shares_a) == pytest.approx(0.5)


def test_a_sure_higher_rating_is_surely_preferred():
    high, low = ([0.0] * 8 + [0.0, 1.0]), ([1.0] + [0.0] * 9)

    assert rated_preference(high, low) == 1
    assert rated_preference(low, high) == 0


def test_ratings_of_another_number_are_refused():
    with pytest.raises(ValueError, match="10 finite"):
        rating_shares([0.0] * 9)


def test_three_replies_make_three_pairs_and_their_mean_wins():
    assert pairs_of(3) == ((0, 1), (0, 2), (1, 2))

    wins = mean_wins(3, (0.9, 0.8, 0.4))

    assert wins == pytest.approx((0.85, 0.25, 0.4))
    assert best_and_worst(wins) == (0, 1)


@given(st.integers(2, 6).flatmap(lambda k: st.tuples(st.just(k), st.lists(P, min_size=15))))
def test_the_wins_of_all_replies_are_one_half_on_average(case: tuple[int, list[float]]):
    replies, drawn = case

    wins = mean_wins(replies, drawn[: len(pairs_of(replies))])

    assert math.fsum(wins) / replies == pytest.approx(0.5)


@given(st.lists(P, min_size=2, max_size=6))
def test_best_and_worst_are_two_replies_even_where_all_are_equal(wins: list[float]):
    best, worst = best_and_worst(wins)

    assert wins[best] == max(wins)
    assert wins[worst] == min(wins)
    assert best != worst


def test_ten_ratings_are_in_order():
    assert all(low < high for low, high in pairwise(RATINGS))


def test_the_shares_of_options_are_what_is_left_of_their_probabilities():
    assert option_shares([math.log(0.3), math.log(0.1)]) == pytest.approx((0.75, 0.25))


@pytest.mark.parametrize("bad", [[], [0.0, -math.inf]], ids=["none", "unweighed"])
def test_options_that_were_not_weighed_have_no_shares(bad: list[float]):
    with pytest.raises(ValueError, match="finite"):
        option_shares(bad)
