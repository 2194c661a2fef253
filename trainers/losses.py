"""Losses and their metrics: pure functions of tensors, each with its equation and paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def preference_loss(
    score_a: Tensor, score_b: Tensor, p_a: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Cross-entropy of the preference model against soft labels, in nats, a scalar.

        L = −mean[ w (p log σ(a − b) + (1 − p) log σ(b − a)) ]

    Soft labels: Bai et al. (2022), §4.1, §4.3. With p = 1 this is Bradley-Terry, TRL's own loss;
    its least value is the labels' entropy, at a − b = log p/(1 − p). With w = 1 on helpfulness and
    λ on harmlessness it is L_help + λ·L_harm of HH-RLHF, §5.1.2; the mean is over rows, not over
    weights, so that a row counts the same in whatever batch it stands.

    Args:
        score_a: the model's scores of the replies a, (B,).
        score_b: and of the replies b, (B,).
        p_a: probability that a is the better one, in [0, 1], (B,).
        weight: w, not negative, (B,); None: 1 throughout.
    """
    from torch.nn import functional

    return functional.binary_cross_entropy_with_logits(score_a - score_b, p_a, weight=weight)


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


def dpo_loss(margin: Tensor, p_chosen: Tensor, beta: float) -> Tensor:
    """Direct preference optimisation against soft labels, in nats, a scalar.

        L = −mean[ p log σ(β h) + (1 − p) log σ(−β h) ]
        h = log π(chosen)/π_ref(chosen) − log π(rejected)/π_ref(rejected)

    Rafailov et al. (2023), equation 7, is p = 1. With p = 1 − ε throughout it is conservative
    DPO (Mitchell 2023, equation 2). Its least value is the labels' entropy, at β h = log p/(1 − p).

    Args:
        margin: h, in nats, (B,).
        p_chosen: probability that the chosen reply is the better one, in [0, 1], (B,).
        beta: how dear it is to leave the reference; more than 0.
    """
    from torch.nn import functional

    return functional.binary_cross_entropy_with_logits(beta * margin, p_chosen)


def ipo_loss(margin: Tensor, p_chosen: Tensor, beta: float) -> Tensor:
    """Identity preference optimisation against soft labels, a scalar.

        L = mean[ p (h − 1/2β)² + (1 − p) (h + 1/2β)² ]

    Azar et al. (2023), equation 17, whose drawn label I has p as its mean, and whose τ is β. With
    p = 1 this is TRL's own loss. Its least value is at h = (2p − 1)/2β, a finite distance even
    where a label is sure.

    Args:
        margin: h as for `dpo_loss`, of log-probabilities per token of each reply, (B,).
        p_chosen: probability that the chosen reply is the better one, in [0, 1], (B,).
        beta: how dear it is to leave the reference; more than 0.
    """
    target = 1 / (2 * beta)
    won, lost = (margin - target).square(), (margin + target).square()
    return (p_chosen * won + (1 - p_chosen) * lost).mean()
