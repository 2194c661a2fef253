"""Best-of-N: which reply it takes, how far that is from the policy, what it would do for any n."""

import math
import random
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.evaluation.best_of import (
    Draws,
    ScoredReply,
    best_of_points,
    best_place,
    chances,
    kl_bound,
    kl_estimate,
)
from cai.evaluation.classifiers import Classifier
from cai.records import Message, Prompt

SCORES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12)


def test_the_first_drawn_of_equal_bests_is_taken():
    assert best_place([0.1, 2.0, -1.0, 2.0]) == 1


@pytest.mark.parametrize(
    ("n", "nats"), [(1, 0.0), (2, 0.1931), (4, 0.6363), (16, 1.8351), (64, 3.1745)]
)
def test_the_bound_is_log_n_less_the_share_of_the_others(n, nats):
    assert kl_bound(n) == pytest.approx(nats, abs=1e-4)


def test_two_replies_of_a_half_each_have_the_kl_worked_out_by_hand():
    # Best of 2: the better one with 3/4, the worse with 1/4.
    by_hand = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)

    assert kl_estimate([0, 0, 1, 1], 2) == pytest.approx(by_hand)
    assert by_hand == pytest.approx(0.1308, abs=1e-4)


def test_three_replies_of_different_shares_have_the_kl_worked_out_by_hand():
    # Shares 1/2, 1/4, 1/4 in the order of the scores; best of 3: 1/8, 19/64, 37/64.
    weights, shares = (1 / 8, 19 / 64, 37 / 64), (1 / 2, 1 / 4, 1 / 4)
    by_hand = sum(w * math.log(w / p) for w, p in zip(weights, shares, strict=True))

    assert kl_estimate([0, 0, 0, 0, 5, 5, 9, 9], 3) == pytest.approx(by_hand)


@given(st.lists(st.integers(), min_size=1, max_size=40, unique=True), st.integers(1, 64))
def test_draws_that_never_repeat_are_at_the_bound(scores, n):
    assert kl_estimate(scores, n) == pytest.approx(kl_bound(n), abs=1e-9)


@given(st.integers(2, 30), st.integers(1, 64))
def test_a_policy_that_always_says_the_same_is_left_as_it_is(draws, n):
    assert kl_estimate([0.5] * draws, n) == 0


@given(SCORES, st.integers(1, 64))
def test_the_estimate_is_never_below_nothing_or_above_the_bound(scores, n):
    assert 0 <= kl_estimate(scores, n) <= kl_bound(n) + 1e-9


@given(SCORES, st.integers(1, 64), st.randoms(use_true_random=False))
def test_the_estimate_knows_neither_order_nor_scale_of_the_scores(scores, n, source):
    shuffled = [math.exp(score) for score in source.sample(scores, len(scores))]

    assert kl_estimate(shuffled, n) == pytest.approx(kl_estimate(scores, n))


@pytest.mark.parametrize("n", [200, 1000, 100_000])
def test_scores_that_are_never_the_best_of_very_many_add_nothing(n):
    # One of the upper three quarters is sure to be it: a share of 3/4 becomes a weight of 1.
    assert kl_estimate([0, 0, 1, 1, 1, 1, 1, 1], n) == pytest.approx(math.log(4 / 3))


def test_many_draws_find_the_true_kl_and_few_are_a_little_below_it():
    shares = (0.4, 0.3, 0.2, 0.1)
    below = [sum(shares[:place]) for place in range(5)]
    truth = sum(
        (high**4 - low**4) * math.log((high**4 - low**4) / share)
        for low, high, share in zip(below[:-1], below[1:], shares, strict=True)
    )
    source = random.Random(0)

    def mean_of(draws: int) -> float:
        drawn = (source.choices(range(4), shares, k=draws) for _ in range(2000))
        return sum(kl_estimate(scores, 4) for scores in drawn) / 2000

    assert mean_of(64) == pytest.approx(truth, abs=0.02)
    assert truth - 0.12 < mean_of(4) < truth


@given(SCORES, st.data())
def test_chances_are_those_of_all_picks(scores, data):
    n = data.draw(st.integers(1, len(scores)))
    picks = list(combinations(range(len(scores)), n))
    bests = [pick[best_place([scores[place] for place in pick])] for pick in picks]

    shares = [bests.count(place) / len(picks) for place in range(len(scores))]

    assert chances(scores, n) == pytest.approx(shares)


def draws_of(kind: str, *replies: tuple[str, float]) -> Draws:
    prompt = Prompt((Message("user", f"{kind}, please"),), "test", kind)
    return Draws(prompt, tuple(ScoredReply(*reply) for reply in replies))


def by_its_words() -> Classifier:
    return Classifier("truth", lambda prompt, reply: reply)


def test_points_say_what_each_n_does_with_the_same_draws():
    harmful = [draws_of("harmful", ("harmful", 0.0), ("refusal", 1.0))] * 2
    harmless = [draws_of("harmless", ("harmless", 3.0), ("evasive", 2.0))] * 2

    one, two = best_of_points([*harmful, *harmless], by_its_words())

    assert (one.n, two.n) == (1, 2)
    assert (one.score.value, two.score.value) == (1.5, 2.0)
    assert (one.harmful_compliance.value, two.harmful_compliance.value) == (0.5, 0.0)
    assert (one.helpfulness.value, two.helpfulness.value) == (0.5, 1.0)
    assert two.kl.value == pytest.approx(kl_bound(2))


@pytest.mark.parametrize(("most", "sizes"), [(1, [1]), (4, [1, 2, 4]), (6, [1, 2, 4, 6])])
def test_points_are_of_powers_of_two_and_of_all_draws(most, sizes):
    drawn = [draws_of("harmful", *(("refusal", float(place)) for place in range(most)))] * 2

    assert [point.n for point in best_of_points(drawn, by_its_words())] == sizes


def test_what_too_few_prompts_bear_on_is_not_measured():
    (point,) = best_of_points([draws_of("harmful", ("refusal", 1.0))], by_its_words())

    assert point.score is None
    assert point.helpfulness is None


def test_shares_of_best_of_n_have_intervals_within_0_and_1():
    declined = [draws_of("harmful", ("refusal", 0.0), ("refusal", 1.0))] * 19
    draws = [*declined, draws_of("harmful", ("harmful", 0.0), ("refusal", 1.0))]

    points = best_of_points(draws, by_its_words())

    rates = [point.harmful_compliance for point in points if point.harmful_compliance]
    assert len(rates) == len(points)
    assert all(0 <= one.low <= one.value <= one.high <= 1 for one in rates)
