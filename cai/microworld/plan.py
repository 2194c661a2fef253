"""The plan of the pretraining run: how long, on which mixtures, at which learning rates."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cai.microworld.mixtures import FIRST, LAST, MIDDLE, Mixture

Schedule = tuple[tuple[int, Mixture], ...]


@dataclass(frozen=True)
class Plan:
    """One pretraining run; the defaults are the shipped model's.

    Args:
        steps: optimizer steps.
        schedule: what the corpus is made of, each mixture after the step that it begins with:
            the model learns to speak and to heed principles, then to judge.
        seed: of weights and corpus.
        batch: sequences per step.
        parts: pieces of about equal length that a step is computed in.
        peak: highest learning rate of the embedding and the norms (AdamW).
        peak_muon: highest learning rate of the other matrices (Muon, Jordan et al. 2024).
        warmup: steps until both.
        decay: weight decay of the latter.
        save_every: steps between checkpoints.
        tokenizer_examples: examples that the tokenizer learns its merges from.
    """

    steps: int = 1800
    schedule: Schedule = ((0, FIRST), (500, MIDDLE), (1000, LAST))
    seed: int = 0
    batch: int = 48
    parts: int = 12
    peak: float = 3e-3
    peak_muon: float = 0.02
    warmup: int = 50
    decay: float = 0.05
    save_every: int = 100
    tokenizer_examples: int = 6000


def rate_at(plan: Plan, step: int) -> float:
    """Share of the peak learning rate: linear warmup, then a cosine down to a fiftieth."""
    if step < plan.warmup:
        return (step + 1) / plan.warmup
    share = (step - plan.warmup) / max(plan.steps - plan.warmup, 1)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share))
