"""Losses and their metrics: pure functions of tensors, each with its equation and paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def preference_loss(score_a: Tensor, score_b: Tensor, p_a: Tensor) -> Tensor:
    """Cross-entropy of the preference model against soft labels, in nats, a scalar.

        L = −mean[ p log σ(a − b) + (1 − p) log σ(b − a) ]

    Soft labels: Bai et al. (2022), §4.1, §4.3. With p = 1 this is Bradley-Terry, TRL's own loss;
    its least value is the labels' entropy, at a − b = log p/(1 − p).

    Args:
        score_a: the model's scores of the replies a, (B,).
        score_b: and of the replies b, (B,).
        p_a: probability that a is the better one, in [0, 1], (B,).
    """
    from torch.nn import functional

    return functional.binary_cross_entropy_with_logits(score_a - score_b, p_a)


def preference_accuracy(score_a: Tensor, score_b: Tensor, p_a: Tensor) -> Tensor:
    """Share of pairs whose likelier reply has the higher score, in [0, 1]; equal scores count ½.

    Pairs with p = ½ have no likelier reply and are left out; without any other, it is NaN.

    Args:
        score_a: the model's scores of the replies a, (B,).
        score_b: and of the replies b, (B,).
        p_a: probability that a is the better one, in [0, 1], (B,).
    """
    decided = p_a != 0.5
    agreement = (score_a - score_b).sign() * (p_a - 0.5).sign()
    return ((agreement[decided] + 1) / 2).mean()


def brier_score(score_a: Tensor, score_b: Tensor, p_a: Tensor) -> Tensor:
    """Mean squared distance of σ(a − b) from the label, in [0, 1]; 0 is best (HH-RLHF §3.3).

    Args:
        score_a: the model's scores of the replies a, (B,).
        score_b: and of the replies b, (B,).
        p_a: probability that a is the better one, in [0, 1], (B,).
    """
    return ((score_a - score_b).sigmoid() - p_a).square().mean()
