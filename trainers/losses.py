"""Losses and their metrics: pure functions of tensors, each with its equation and paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

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


def label_distance(score_a: Tensor, score_b: Tensor, p_a: Tensor) -> Tensor:
    """Mean squared distance of σ(a − b) from the label, in [0, 1]; 0 is best.

        D = mean[ (σ(a − b) − p)² ]

    It is no Brier score: that is of a reply drawn to be the better one with p, and has p(1 − p)
    more, which no score can bring down (`cai.evaluation.scored_pairs`).

    Args:
        score_a: the model's scores of the replies a, (B,).
        score_b: and of the replies b, (B,).
        p_a: probability that a is the better one, in [0, 1], (B,).
    """
    return ((score_a - score_b).sigmoid() - p_a).square().mean()


def distillation_loss(logprobs: Tensor, top_ids: Tensor, top_logprobs: Tensor) -> Tensor:
    """KL(teacher ‖ student) of each token, by the teacher's likeliest tokens and one for the rest.

        L = Σ_k p_k (log p_k − log q_k) + p_rest (log p_rest − log q_rest),
        p_rest = 1 − Σ_k p_k,   q_rest = 1 − Σ_k q_k

    HH-RLHF, A.1: with K = 50 tokens of the teacher there are 51 categories. It is never above the
    KL over all tokens, and equal to it with K = V, where there is no rest. Its least value, 0, is
    where q has the teacher's probability on each of the K.

    Args:
        logprobs: log q of every token, with a gradient, (N, V).
        top_ids: the teacher's likeliest tokens, different ones, (N, K).
        top_logprobs: their natural log p, (N, K).
    """
    import torch

    p = top_logprobs.exp()
    # What has no probability costs nothing; 0 · −∞ would be no number.
    terms = p * (top_logprobs - logprobs.gather(-1, top_ids))
    nats = torch.where(p > 0, terms, 0.0).sum(-1)
    if top_ids.shape[-1] == logprobs.shape[-1]:
        return nats
    rest = (1 - p.sum(-1)).clamp(min=0)
    others = logprobs.scatter(-1, top_ids, -torch.inf)
    # Where the teacher leaves nothing to the rest, it costs nothing; a student that leaves nothing
    # either would make 0 · −∞ of it, and of its gradient.
    others = others.masked_fill_((rest == 0).unsqueeze(-1), 0.0).logsumexp(-1)
    return nats + torch.xlogy(rest, rest) - rest * others


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


def kl_estimate(
    logprobs: Tensor, reference_logprobs: Tensor, kind: Literal["k1", "k2", "k3"]
) -> Tensor:
    """What a drawn token says of KL(π ‖ π_ref), in nats, of the arguments' shape.

        d = log π − log π_ref
        k1 = d,   k2 = d²/2,   k3 = exp(−d) − 1 + d

    Schulman (2020), "Approximating KL divergence". The mean of k1 and of k3 over tokens drawn
    from π is the KL itself; k1 may be negative, k3 never; k2 is never negative, and near the KL
    while the two are near each other.

    Args:
        logprobs: natural log of π(token), any shape.
        reference_logprobs: of π_ref(token), the same shape.
        kind: the estimator.
    """
    difference = logprobs - reference_logprobs
    if kind == "k1":
        return difference
    if kind == "k2":
        return difference.square() / 2
    return (-difference).exp() - 1 + difference


def token_rewards(
    scores: Tensor, kl: Tensor, mask: Tensor, *, score_weight: float, beta: float
) -> Tensor:
    """The reward of each token: the KL's price at each, the score at the last, (B, T).

        r_t = −β KL_t + [t is the last] w R

    With w = 1 this is r_PM − λ·KL (HH-RLHF, §4.1; CAI, §4.2), with w = 1 − β RLAIF's objective
    (Lee et al. 2023, A.3).

    Args:
        scores: R, of whole replies, (B,).
        kl: estimate of each token's KL in nats, (B, T).
        mask: 1 for the tokens of a reply, 0 behind its end, (B, T); each reply has one at least.
        score_weight: w.
        beta: price of a nat.
    """
    rewards = -beta * kl * mask
    last = mask.sum(1, keepdim=True).long() - 1
    return rewards.scatter_add(1, last, score_weight * scores.unsqueeze(1))


def generalized_advantages(rewards: Tensor, values: Tensor, mask: Tensor, decay: float) -> Tensor:
    """How much better each token was than expected, (B, T); 0 behind a reply's end.

        A_t = Σ_l λ^l δ_{t+l},   δ_t = r_t + V_{t+1} − V_t,   V = 0 behind the end

    Schulman et al. (2016), equation 16, with γ = 1 (HH-RLHF, B.1; Lee et al. 2023, App. G).
    With λ = 1 it is the rest of the rewards less V_t, with λ = 0 it is δ_t.

    Args:
        rewards: r of each token, (B, T).
        values: V before each token is drawn, (B, T).
        mask: 1 for the tokens of a reply, 0 behind its end, (B, T).
        decay: λ, in [0, 1].
    """
    import torch

    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    next_value = torch.zeros_like(following)
    for t in range(rewards.shape[1] - 1, -1, -1):
        surprise = rewards[:, t] + next_value - values[:, t]
        following = (surprise + decay * following) * mask[:, t]
        next_value = values[:, t] * mask[:, t]
        advantages[:, t] = following
    return advantages


def normalized(
    advantages: Tensor, mask: Tensor, everyone: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Advantages with mean 0 and standard deviation 1 over all tokens of the batch.

    Args:
        advantages: of each token, (B, T).
        mask: 1 for the tokens of a reply, 0 behind its end, (B, T).
        everyone: both of them for the whole batch, where several processes share it and these are
            the rows of one; None if these are the whole.
    """
    all_advantages, all_mask = everyone or (advantages, mask)
    tokens = all_mask.sum()
    mean = (all_advantages * all_mask).sum() / tokens
    variance = ((all_advantages - mean) * all_mask).square().sum() / tokens
    return (advantages - mean) * mask / (variance.sqrt() + 1e-8)


def clipped_objective(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip: float | None
) -> Tensor:
    """What a step of the policy loses by each token, of the arguments' shape; less is better.

        L = −min(ρ A, clamp(ρ, 1 − ε, 1 + ε) A),   ρ = π(token)/π_old(token)

    Schulman et al. (2017), equation 7; ε = 0.2 in HH-RLHF, §4.1. At ρ = 1, where the first step
    on a batch stands, its gradient is that of −A log π, REINFORCE's, whatever ε.

    Args:
        logprobs: log π(token), with a gradient.
        old_logprobs: log π_old(token), of the policy that drew it.
        advantages: A.
        clip: ε; None for no clipping.
    """
    import torch

    ratio = (logprobs - old_logprobs).exp()
    loss = -ratio * advantages
    if clip is None:
        return loss
    return torch.maximum(loss, -ratio.clamp(1 - clip, 1 + clip) * advantages)


def is_clipped(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Whether clipping keeps a token from being learned from, of the arguments' shape.

    Args:
        logprobs: as for `clipped_objective`; so too the others.
        old_logprobs: of the policy that drew the token.
        advantages: A.
        clip: ε.
    """
    ratio = (logprobs - old_logprobs).exp()
    return ((ratio > 1 + clip) & (advantages > 0)) | ((ratio < 1 - clip) & (advantages < 0))


def value_loss(values: Tensor, returns: Tensor) -> Tensor:
    """Squared distance of each value from what then came, of the arguments' shape.

        L = (Z − V)²

    Lee et al. (2023), App. F.

    Args:
        values: V, with a gradient.
        returns: Z, the rewards that were still to come.
    """
    return (returns - values).square()
