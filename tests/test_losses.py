"""Losses against values worked out by hand, their limits, and their gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainers.losses import (
    brier_score,
    dpo_loss,
    ipo_loss,
    preference_accuracy,
    preference_loss,
)

probabilities = st.floats(0, 1)
scores = st.floats(-20, 20)


@pytest.mark.parametrize(
    ("score_a", "score_b", "p_a", "loss"),
    [
        (0.0, 0.0, 0.5, math.log(2)),
        (0.0, 0.0, 1.0, math.log(2)),
        (math.log(3), 0.0, 1.0, math.log(4 / 3)),
        (math.log(3), 0.0, 0.0, math.log(4)),
        (math.log(3), 0.0, 0.75, 0.75 * math.log(4 / 3) + 0.25 * math.log(4)),
        (5.0, 5.0 - math.log(3), 0.75, 0.75 * math.log(4 / 3) + 0.25 * math.log(4)),
    ],
)
def test_preference_loss_has_the_value_worked_out_by_hand(
    score_a: float, score_b: float, p_a: float, loss: float
):
    a, b, p = (torch.tensor([value]) for value in (score_a, score_b, p_a))

    assert preference_loss(a, b, p).item() == pytest.approx(loss, abs=1e-6)


def test_preference_loss_is_the_mean_over_the_pairs():
    a, b, p = torch.tensor([math.log(3), 0.0]), torch.zeros(2), torch.tensor([1.0, 0.5])

    loss = preference_loss(a, b, p).item()

    assert loss == pytest.approx((math.log(4 / 3) + math.log(2)) / 2, abs=1e-6)


@given(st.lists(st.tuples(scores, scores), min_size=1, max_size=8))
def test_hard_labels_give_bradley_terry(pairs: list[tuple[float, float]]):
    a, b = torch.tensor(pairs, dtype=torch.float64).unbind(1)

    loss = preference_loss(a, b, torch.ones_like(a))

    assert torch.allclose(loss, -torch.nn.functional.logsigmoid(a - b).mean())


@given(scores, scores, probabilities)
def test_gradient_is_the_distance_of_the_predicted_from_the_true_probability(
    score_a: float, score_b: float, p_a: float
):
    a = torch.tensor([score_a], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([score_b], dtype=torch.float64)
    p = torch.tensor([p_a], dtype=torch.float64)

    preference_loss(a, b, p).backward()

    assert a.grad is not None
    assert torch.allclose(a.grad, (a - b).sigmoid().detach() - p, atol=1e-9)


@given(scores, scores, probabilities)
def test_swapping_the_replies_with_their_label_changes_no_loss(
    score_a: float, score_b: float, p_a: float
):
    a, b, p = (torch.tensor([value], dtype=torch.float64) for value in (score_a, score_b, p_a))

    assert torch.allclose(preference_loss(a, b, p), preference_loss(b, a, 1 - p))


@pytest.mark.parametrize(
    ("score_a", "score_b", "p_a", "accuracy"),
    [
        ([2.0, 1.0], [1.0, 2.0], [0.9, 0.9], 0.5),
        ([2.0, 1.0], [1.0, 2.0], [0.9, 0.1], 1.0),
        ([2.0, 1.0], [1.0, 2.0], [0.9, 0.5], 1.0),
        ([1.0], [1.0], [0.9], 0.5),
    ],
    ids=["one of two", "label below one half", "undecided pair left out", "tie"],
)
def test_accuracy_counts_decided_pairs_alone(
    score_a: list[float], score_b: list[float], p_a: list[float], accuracy: float
):
    found = preference_accuracy(torch.tensor(score_a), torch.tensor(score_b), torch.tensor(p_a))

    assert found.item() == pytest.approx(accuracy)


def test_brier_score_is_zero_where_the_margin_gives_the_label():
    margin = torch.tensor([0.0, math.log(3), -math.log(4)])

    score = brier_score(margin, torch.zeros(3), torch.tensor([0.5, 0.75, 0.2]))

    assert score.item() == pytest.approx(0, abs=1e-12)


def test_brier_score_is_the_squared_distance_from_the_label():
    score = brier_score(torch.zeros(2), torch.zeros(2), torch.tensor([1.0, 0.5]))

    assert score.item() == pytest.approx(0.25 / 2)


@pytest.mark.parametrize(
    ("margin", "p", "beta", "loss"),
    [
        (0.0, 0.3, 0.1, math.log(2)),
        (10 * math.log(3), 1.0, 0.1, math.log(4 / 3)),
        (10 * math.log(3), 0.0, 0.1, math.log(4)),
        (math.log(3) / 2, 0.75, 2.0, 0.75 * math.log(4 / 3) + 0.25 * math.log(4)),
    ],
)
def test_dpo_loss_has_the_value_worked_out_by_hand(
    margin: float, p: float, beta: float, loss: float
):
    found = dpo_loss(torch.tensor([margin]), torch.tensor([p]), beta)

    assert found.item() == pytest.approx(loss, abs=1e-6)


@given(scores, probabilities, st.floats(0.01, 2))
def test_dpo_with_a_constant_label_is_conservative_dpo(margin: float, p: float, beta: float):
    h = torch.tensor([margin], dtype=torch.float64)

    found = dpo_loss(h, torch.full_like(h, p), beta)

    log_sigmoid = torch.nn.functional.logsigmoid
    conservative = -p * log_sigmoid(beta * h) - (1 - p) * log_sigmoid(-beta * h)
    assert torch.allclose(found, conservative.mean())


@given(st.floats(0.01, 0.99), st.floats(0.01, 2))
def test_dpo_rests_where_the_margin_gives_the_label(p: float, beta: float):
    h = torch.tensor([math.log(p / (1 - p)) / beta], dtype=torch.float64, requires_grad=True)

    dpo_loss(h, torch.tensor([p], dtype=torch.float64), beta).backward()

    assert h.grad is not None
    assert h.grad.item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("margin", "p", "beta", "loss"),
    [
        (5.0, 1.0, 0.1, 0.0),
        (0.0, 1.0, 0.5, 1.0),
        (3.0, 0.75, 0.5, 0.75 * 4 + 0.25 * 16),
        (0.0, 0.5, 0.25, 4.0),
    ],
)
def test_ipo_loss_has_the_value_worked_out_by_hand(
    margin: float, p: float, beta: float, loss: float
):
    found = ipo_loss(torch.tensor([margin]), torch.tensor([p]), beta)

    assert found.item() == pytest.approx(loss, abs=1e-6)


@given(probabilities, st.floats(0.05, 2))
def test_ipo_rests_at_a_finite_distance_even_where_a_label_is_sure(p: float, beta: float):
    h = torch.tensor([(2 * p - 1) / (2 * beta)], dtype=torch.float64, requires_grad=True)

    ipo_loss(h, torch.tensor([p], dtype=torch.float64), beta).backward()

    assert h.grad is not None
    assert h.grad.item() == pytest.approx(0, abs=1e-9)


@given(scores, probabilities, st.sampled_from([dpo_loss, ipo_loss]))
def test_swapping_a_pair_with_its_label_changes_no_loss(margin: float, p: float, loss: object):
    h, label = torch.tensor([margin]).double(), torch.tensor([p]).double()

    assert torch.allclose(loss(h, label, 0.1), loss(-h, 1 - label, 0.1))
