"""Drawing tokens: the inverse of the cumulative distribution at each request's own numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cai.records import Sampling

if TYPE_CHECKING:
    from torch import Tensor


def uniforms(samplings: Sequence[Sampling]) -> Tensor:
    """Numbers in [0, 1) of each request, from a generator with its own seed, (B, longest)."""
    import torch

    longest = max(sampling.max_tokens for sampling in samplings)
    numbers_B_T = torch.zeros((len(samplings), longest))
    for row, sampling in zip(numbers_B_T, samplings, strict=True):
        if sampling.temperature > 0:
            generator = torch.Generator().manual_seed(sampling.seed)
            row[: sampling.max_tokens] = torch.rand(sampling.max_tokens, generator=generator)
    return numbers_B_T


def pick(logits_B_V: Tensor, temperature_B: Tensor, top_p_B: Tensor, uniform_B: Tensor) -> Tensor:
    """One token per row, (B,).

        p = softmax(logits / T);  token = min {v : p_1 + … + p_v > u · Σ p}

    With top_p < 1 the tokens are first sorted by falling probability, and those are dropped
    before which the sum has already reached top_p. With T = 0 it is the likeliest token.

    Args:
        logits_B_V: the model's, untempered.
        temperature_B: ≥ 0.
        top_p_B: in (0, 1].
        uniform_B: in [0, 1).
    """
    import torch

    greedy_B = temperature_B == 0
    scale_B = temperature_B.masked_fill(greedy_B, 1)
    probability_B_V = torch.softmax(logits_B_V / scale_B[:, None], dim=-1)
    token_B = _inverse(probability_B_V, uniform_B)
    filtered_B = top_p_B < 1
    if bool(filtered_B.any()):
        token_B[filtered_B] = _nucleus(
            probability_B_V[filtered_B], top_p_B[filtered_B], uniform_B[filtered_B]
        )
    return torch.where(greedy_B, logits_B_V.argmax(dim=-1), token_B)


def _nucleus(probability_B_V: Tensor, top_p_B: Tensor, uniform_B: Tensor) -> Tensor:
    falling = probability_B_V.sort(dim=-1, descending=True, stable=True)
    before_B_V = falling.values.cumsum(dim=-1) - falling.values
    kept_B_V = falling.values.masked_fill(before_B_V >= top_p_B[:, None], 0)
    return falling.indices.gather(1, _inverse(kept_B_V, uniform_B)[:, None])[:, 0]


def _inverse(weight_B_V: Tensor, uniform_B: Tensor) -> Tensor:
    """Index at which the running sum first exceeds u · total; never one of weight 0."""
    import torch

    sum_B_V = weight_B_V.cumsum(dim=-1)
    total_B_1 = sum_B_V[:, -1:].contiguous()
    below_B_1 = torch.nextafter(total_B_1, torch.zeros_like(total_B_1))
    wanted_B_1 = torch.minimum(uniform_B[:, None] * total_B_1, below_B_1)
    return torch.searchsorted(sum_B_V, wanted_B_1, right=True)[:, 0]
