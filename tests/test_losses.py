"""Losses against values worked out by hand, their limits, and their gradients."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from trainers.losses import (
    clipped_objective,
    distillation_loss,
    dpo_loss,
    generalized_advantages,
    ipo_loss,
    is_clipped,
    kl_estimate,
    label_distance,
    normalized,
    preference_accuracy,
    preference_loss,
    token_rewards,
    value_loss,
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


def test_weighted_pairs_have_the_loss_worked_out_by_hand():
    a, b = torch.tensor([math.log(3), 0.0]), torch.zeros(2)
    helpful_and_harmful = torch.tensor([1.0, 4.0])

    loss = preference_loss(a, b, torch.ones(2), helpful_and_harmful)

    assert loss.item() == pytest.approx((math.log(4 / 3) + 4 * math.log(2)) / 2, abs=1e-6)


weighed_pairs = st.lists(
    st.tuples(scores, scores, probabilities, st.booleans()), min_size=1, max_size=8
)


@given(weighed_pairs, st.floats(0, 10))
def test_the_weighted_loss_is_that_of_help_and_lambda_times_that_of_harm(
    rows: list[tuple[float, float, float, bool]], harmless_weight: float
):
    a, b, p, is_harm = torch.tensor(rows, dtype=torch.float64).unbind(1)
    weight = torch.where(is_harm.bool(), harmless_weight, 1.0)

    loss = preference_loss(a, b, p, weight)

    each = torch.stack([preference_loss(*one) for one in zip(a, b, p, strict=True)])
    help_alone, harm_alone = (each * (1 - is_harm)).mean(), (each * is_harm).mean()
    assert torch.allclose(loss, help_alone + harmless_weight * harm_alone)


@given(weighed_pairs)
def test_weights_of_one_are_no_weights_and_those_of_zero_leave_nothing(rows: Any):
    a, b, p, _ = torch.tensor(rows, dtype=torch.float64).unbind(1)

    assert torch.equal(preference_loss(a, b, p, torch.ones_like(p)), preference_loss(a, b, p))
    assert preference_loss(a, b, p, torch.zeros_like(p)).item() == 0


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


def test_accuracy_of_undecided_pairs_alone_is_no_number():
    assert preference_accuracy(torch.ones(2), torch.zeros(2), torch.full((2,), 0.5)).isnan()


judged = st.lists(
    st.tuples(scores, scores, probabilities.filter(lambda p: p != 0.5)), min_size=1, max_size=8
)


@given(judged, st.floats(0.01, 10), scores)
def test_accuracy_knows_neither_scale_nor_origin_of_the_scores_nor_the_order_of_a_pair(
    rows: list[tuple[float, float, float]], scale: float, origin: float
):
    # On a grid, so that rounding makes no two different scores equal.
    a, b, p = torch.tensor(rows, dtype=torch.float64).unbind(1)
    a, b = a.round(), b.round()

    found = preference_accuracy(a, b, p)

    assert 0 <= found.item() <= 1
    assert torch.equal(preference_accuracy(scale * a + origin, scale * b + origin, p), found)
    assert torch.allclose(preference_accuracy(b, a, 1 - p), found)
    assert torch.allclose(preference_accuracy(a, b, 1 - p), 1 - found)


@given(st.lists(st.floats(0.01, 0.99).filter(lambda p: abs(p - 0.5) > 0.01), min_size=1))
def test_scores_that_give_the_labels_agree_with_all_of_them(labels: list[float]):
    p = torch.tensor(labels, dtype=torch.float64)

    assert preference_accuracy(p.logit(), torch.zeros_like(p), p).item() == 1


@given(judged)
def test_label_distance_is_a_share_and_the_same_for_swapped_pairs(
    rows: list[tuple[float, float, float]],
):
    a, b, p = torch.tensor(rows, dtype=torch.float64).unbind(1)

    found = label_distance(a, b, p)

    assert 0 <= found.item() <= 1
    assert torch.allclose(label_distance(b, a, 1 - p), found)


@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=8))
def test_no_label_distance_is_less_than_that_of_scores_that_give_the_labels(labels: list[float]):
    p = torch.tensor(labels, dtype=torch.float64)

    assert label_distance(p.logit(), torch.zeros_like(p), p).item() == pytest.approx(0, abs=1e-12)


def test_label_distance_of_sure_scores_is_the_share_that_is_wrong():
    sure = label_distance(torch.tensor([90.0, -90.0, 90.0]), torch.zeros(3), torch.ones(3))

    assert sure.item() == pytest.approx(1 / 3)


def test_label_distance_is_zero_where_the_margin_gives_the_label():
    margin = torch.tensor([0.0, math.log(3), -math.log(4)])

    score = label_distance(margin, torch.zeros(3), torch.tensor([0.5, 0.75, 0.2]))

    assert score.item() == pytest.approx(0, abs=1e-12)


def test_label_distance_is_the_squared_distance_from_the_label():
    score = label_distance(torch.zeros(2), torch.zeros(2), torch.tensor([1.0, 0.5]))

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
def test_swapping_a_pair_with_its_label_changes_no_loss(margin: float, p: float, loss: Any):
    h, label = torch.tensor([margin]).double(), torch.tensor([p]).double()

    assert torch.allclose(loss(h, label, 0.1), loss(-h, 1 - label, 0.1))


@pytest.mark.parametrize(
    ("kind", "value"),
    [("k1", math.log(2)), ("k2", math.log(2) ** 2 / 2), ("k3", 0.5 - 1 + math.log(2))],
)
def test_kl_of_a_token_has_the_value_worked_out_by_hand(kind: Any, value: float):
    twice_as_likely = kl_estimate(torch.tensor([0.4]).log(), torch.tensor([0.2]).log(), kind)

    assert twice_as_likely.item() == pytest.approx(value, abs=1e-6)


@given(st.lists(scores, min_size=2, max_size=6), st.lists(scores, min_size=6, max_size=6))
def test_k1_and_k3_are_the_kl_on_average_over_what_the_policy_draws(
    policy: list[float], reference: list[float]
):
    p = torch.tensor(policy, dtype=torch.float64).log_softmax(0)
    q = torch.tensor(reference[: len(policy)], dtype=torch.float64).log_softmax(0)
    kl = (p.exp() * (p - q)).sum()

    for kind in ("k1", "k3"):
        assert torch.allclose((p.exp() * kl_estimate(p, q, kind)).sum(), kl, atol=1e-6)


@given(scores, scores)
def test_k2_and_k3_are_never_negative(logprob: float, reference: float):
    p, q = (torch.tensor([value], dtype=torch.float64) for value in (logprob, reference))

    assert kl_estimate(p, q, "k2").item() >= 0
    assert kl_estimate(p, q, "k3").item() >= -1e-9


def test_the_score_is_paid_at_the_last_token_and_the_kl_at_each():
    kl = torch.tensor([[0.1, 0.2, 0.3], [0.5, 9.0, 9.0]])
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])

    rewards = token_rewards(torch.tensor([2.0, -1.0]), kl, mask, score_weight=0.9, beta=0.1)

    expected = torch.tensor([[-0.01, -0.02, 1.77], [-0.95, 0.0, 0.0]])
    assert torch.allclose(rewards, expected, atol=1e-6)


replies = st.lists(
    st.tuples(scores, st.lists(scores, min_size=1, max_size=6)), min_size=1, max_size=4
)


def in_rows(drawn: list[tuple[float, list[float]]]) -> tuple[torch.Tensor, ...]:
    """Score, KL and mask of replies of several lengths; behind their ends stands anything."""
    longest = max(len(tokens) for _, tokens in drawn)
    return (
        torch.tensor([score for score, _ in drawn], dtype=torch.float64),
        torch.tensor([[*kl, *[9.0] * (longest - len(kl))] for _, kl in drawn], dtype=torch.float64),
        torch.tensor([[1] * len(kl) + [0] * (longest - len(kl)) for _, kl in drawn]),
    )


@given(replies, st.floats(0, 1))
def test_the_tokens_of_a_reply_are_paid_the_score_less_the_price_of_its_kl(
    drawn: list[tuple[float, list[float]]], beta: float
):
    score, kl, mask = in_rows(drawn)

    for weight in (1.0, 1 - beta):
        rewards = token_rewards(score, kl, mask, score_weight=weight, beta=beta)

        assert torch.allclose(rewards.sum(1), weight * score - beta * (kl * mask).sum(1))
        assert not rewards[mask == 0].any()


@given(replies)
def test_without_a_price_the_score_alone_is_paid_and_for_reinforce_at_a_price_of_one_the_kl(
    drawn: list[tuple[float, list[float]]],
):
    score, kl, mask = in_rows(drawn)

    free = token_rewards(score, kl, mask, score_weight=1.0, beta=0.0)
    dear = token_rewards(score, kl, mask, score_weight=0.0, beta=1.0)

    last = mask.sum(1, keepdim=True) - 1
    assert torch.equal(free, torch.zeros_like(free).scatter(1, last, score.unsqueeze(1)))
    assert torch.equal(dear, -kl * mask)


def test_advantages_have_the_values_worked_out_by_hand():
    rewards = torch.tensor([[0.0, 0.0, 1.0]])
    values = torch.tensor([[0.5, 0.6, 0.8]])

    found = generalized_advantages(rewards, values, torch.ones(1, 3), decay=0.5)

    # δ = 0.6 − 0.5, 0.8 − 0.6, 1 − 0.8; A = 0.1 + 0.3/2, 0.2 + 0.2/2, 0.2
    assert torch.allclose(found, torch.tensor([[0.25, 0.3, 0.2]]), atol=1e-6)


def test_nothing_behind_the_end_of_a_reply_reaches_its_advantages():
    rewards, values = torch.tensor([[1.0, 7.0]]), torch.tensor([[0.25, 9.0]])

    found = generalized_advantages(rewards, values, torch.tensor([[1, 0]]), decay=0.9)

    assert torch.allclose(found, torch.tensor([[0.75, 0.0]]))


rows = st.lists(st.tuples(scores, scores), min_size=1, max_size=8)


@given(rows)
def test_with_a_decay_of_one_the_advantage_is_what_still_came_less_the_value(
    tokens: list[tuple[float, float]],
):
    rewards, values = torch.tensor([tokens], dtype=torch.float64).unbind(2)

    found = generalized_advantages(rewards, values, torch.ones_like(rewards), decay=1.0)

    to_come = rewards.flip(1).cumsum(1).flip(1)
    assert torch.allclose(found, to_come - values)


@given(rows)
def test_with_a_decay_of_zero_the_advantage_is_the_next_surprise(
    tokens: list[tuple[float, float]],
):
    rewards, values = torch.tensor([tokens], dtype=torch.float64).unbind(2)

    found = generalized_advantages(rewards, values, torch.ones_like(rewards), decay=0.0)

    following = torch.nn.functional.pad(values[:, 1:], (0, 1))
    assert torch.allclose(found, rewards + following - values)


def test_advantages_are_normalized_over_the_tokens_of_replies_alone():
    advantages, mask = torch.tensor([[1.0, 3.0], [5.0, 99.0]]), torch.tensor([[1, 1], [1, 0]])

    found = normalized(advantages, mask)

    deviation = math.sqrt(8 / 3)
    expected = torch.tensor([[-2 / deviation, 0.0], [2 / deviation, 0.0]])
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_advantages_that_are_all_the_same_are_normalized_to_nothing(value: float):
    mask = torch.tensor([[1, 1], [1, 0]])

    assert torch.equal(normalized(torch.full((2, 2), value), mask), torch.zeros(2, 2))


@given(replies, st.floats(0.1, 10), scores)
def test_normalized_advantages_have_mean_0_and_deviation_1_whatever_their_scale(
    drawn: list[tuple[float, list[float]]], scale: float, origin: float
):
    _, advantages, mask = in_rows(drawn)
    assume(advantages[mask == 1].std(correction=0) > 1e-3)

    found = normalized(advantages, mask)

    tokens = found[mask == 1]
    assert tokens.mean().item() == pytest.approx(0, abs=1e-6)
    assert tokens.std(correction=0).item() == pytest.approx(1, abs=1e-4)
    assert not found[mask == 0].any()
    assert torch.allclose(normalized(scale * advantages + origin, mask), found, atol=1e-3)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (1.0, 2.0, -2.0, False),
        (1.5, 2.0, -2.4, True),
        (1.5, -2.0, 3.0, False),
        (0.5, 2.0, -1.0, False),
        (0.5, -2.0, 1.6, True),
        (1.1, 2.0, -2.2, False),
    ],
    ids=["same", "better, too far", "worse, too far", "better, back", "worse, back", "inside"],
)
def test_the_clipped_objective_has_the_value_worked_out_by_hand(
    ratio: float, advantage: float, loss: float, clipped: bool
):
    logprob, old = torch.tensor([0.4 * ratio]).log(), torch.tensor([0.4]).log()
    a = torch.tensor([advantage])

    assert clipped_objective(logprob, old, a, 0.2).item() == pytest.approx(loss, abs=1e-5)
    assert is_clipped(logprob, old, a, 0.2).item() is clipped


@given(st.floats(-5, 0), scores)
def test_the_first_step_on_a_batch_is_reinforce_whatever_the_clip(logprob: float, advantage: float):
    a = torch.tensor([advantage], dtype=torch.float64)
    gradients: list[float] = []
    for clip in (None, 0.2):
        p = torch.tensor([logprob], dtype=torch.float64, requires_grad=True)
        clipped_objective(p, p.detach(), a, clip).sum().backward()
        assert p.grad is not None
        gradients.append(p.grad.item())

    assert gradients == pytest.approx([-advantage, -advantage])


log_ratios = st.floats(-2, 2)
clips = st.floats(0.05, 0.5)


@given(log_ratios, scores, clips)
def test_the_clipped_objective_is_the_dearer_of_both(
    log_ratio: float, advantage: float, clip: float
):
    old, a = torch.tensor([[-3.0], [advantage]], dtype=torch.float64)
    new = old + log_ratio

    found, free = (clipped_objective(new, old, a, one).item() for one in (clip, None))

    ratio = math.exp(log_ratio)
    assert free == pytest.approx(-ratio * advantage)
    within = min(max(ratio, 1 - clip), 1 + clip)
    assert found == pytest.approx(max(free, -within * advantage))


@given(log_ratios, scores)
def test_a_clip_that_no_ratio_reaches_is_none(log_ratio: float, advantage: float):
    old, a = torch.tensor([[-3.0], [advantage]], dtype=torch.float64)
    new = old + log_ratio

    assert torch.equal(clipped_objective(new, old, a, 1e3), clipped_objective(new, old, a, None))
    assert not is_clipped(new, old, a, 1e3).any()


@given(log_ratios, scores.filter(lambda a: abs(a) > 1e-6), clips)
def test_nothing_is_learned_from_a_token_where_it_is_clipped_and_only_there(
    log_ratio: float, advantage: float, clip: float
):
    ratio = math.exp(log_ratio)
    assume(min(abs(ratio - (1 - clip)), abs(ratio - (1 + clip))) > 1e-9)
    old, a = torch.tensor([[-3.0], [advantage]], dtype=torch.float64)
    new = (old + log_ratio).requires_grad_()

    clipped_objective(new, old, a, clip).sum().backward()

    assert new.grad is not None
    assert (new.grad.item() == 0) is is_clipped(new.detach(), old, a, clip).item()


@given(scores, scores)
def test_the_value_is_drawn_to_what_came_by_twice_its_distance(value: float, came: float):
    v = torch.tensor([value], dtype=torch.float64, requires_grad=True)
    z = torch.tensor([came], dtype=torch.float64)

    value_loss(v, z).sum().backward()

    assert v.grad is not None
    assert v.grad.item() == pytest.approx(2 * (value - came))
    assert value_loss(z, z).item() == 0


def test_the_value_loss_is_the_squared_distance_from_what_came():
    loss = value_loss(torch.tensor([1.0, -2.0]), torch.tensor([3.0, -2.0]))

    assert loss.tolist() == [4.0, 0.0]


def test_rows_of_one_process_are_normalized_by_the_whole_batch():
    advantages = torch.tensor([[1.0, 2.0, 9.0], [4.0, 7.0, 1.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    whole = normalized(advantages, mask)

    mine = normalized(advantages[:1], mask[:1], (advantages, mask))

    assert torch.allclose(mine, whole[:1])
    assert not torch.allclose(mine, normalized(advantages[:1], mask[:1]))


def distilled(teacher: list[float], student: list[float], top_k: int) -> float:
    """The loss of one token, given both distributions."""
    p, q = (torch.tensor([one], dtype=torch.float64) for one in (teacher, student))
    top = p.log().topk(top_k)
    return distillation_loss(q.log(), top.indices, top.values).item()


def test_distillation_has_the_value_worked_out_by_hand():
    # Of five tokens the teacher's two likeliest, and the other three as one: 0.5, 0.3, 0.2.
    by_hand = 0.5 * math.log(0.5 / 0.2) + 0.3 * math.log(0.3 / 0.4) + 0.2 * math.log(0.2 / 0.4)

    loss = distilled([0.5, 0.3, 0.1, 0.05, 0.05], [0.2, 0.4, 0.1, 0.1, 0.2], top_k=2)

    assert loss == pytest.approx(by_hand)
    assert by_hand == pytest.approx(0.2332, abs=1e-4)


def test_distillation_over_all_tokens_is_the_kl():
    p, q = [0.7, 0.2, 0.1], [0.2, 0.3, 0.5]
    whole = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))

    assert distilled(p, q, top_k=3) == pytest.approx(whole)


def test_a_token_of_no_probability_costs_nothing():
    assert distilled([1.0, 0.0, 0.0], [0.5, 0.25, 0.25], top_k=3) == pytest.approx(math.log(2))
    assert distilled([1.0, 0.0, 0.0], [0.5, 0.25, 0.25], top_k=1) == pytest.approx(math.log(2))


@pytest.mark.parametrize("top_k", [2, 3])
def test_a_rest_that_neither_gives_anything_costs_nothing_and_pulls_nowhere(top_k: int):
    logits = torch.tensor([[0.0, 1.0, -torch.inf], [0.0, 1.0, 2.0]], requires_grad=True)
    teacher = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])
    top = teacher.log().topk(top_k)

    loss = distillation_loss(logits.log_softmax(-1), top.indices, top.values)
    loss.sum().backward()

    whole = (teacher[:, :2] * (teacher[:, :2].log() - logits.log_softmax(-1)[:, :2])).sum(-1)
    assert torch.allclose(loss, whole)
    assert torch.allclose(logits.grad, logits.softmax(-1) - teacher, atol=1e-6)


LOGITS = st.lists(st.floats(-8, 8), min_size=6, max_size=6)


def shares(logits: list[float]) -> list[float]:
    return torch.tensor(logits, dtype=torch.float64).softmax(-1).tolist()


@given(LOGITS, st.integers(1, 6))
def test_distillation_is_nothing_between_equals(logits, top_k):
    assert distilled(shares(logits), shares(logits), top_k) == pytest.approx(0, abs=1e-9)


@given(LOGITS, LOGITS, st.integers(1, 5))
def test_less_of_the_teacher_is_never_more_of_the_kl(teacher, student, top_k):
    p, q = shares(teacher), shares(student)

    less, more = distilled(p, q, top_k), distilled(p, q, top_k + 1)

    assert -1e-9 <= less <= more + 1e-9


@given(LOGITS, st.integers(1, 6))
def test_a_student_that_is_its_teacher_is_pulled_nowhere(logits, top_k):
    student = torch.tensor([logits], dtype=torch.float64, requires_grad=True)
    top = student.detach().log_softmax(-1).topk(top_k)

    distillation_loss(student.log_softmax(-1), top.indices, top.values).sum().backward()

    assert torch.allclose(student.grad, torch.zeros(1, 6, dtype=torch.float64), atol=1e-9)
