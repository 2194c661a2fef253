"""The plan of a pretraining run: its phases, their mixtures and learning rates."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cai.microworld.corpus import FIRST, LAST, Mixture


@dataclass(frozen=True)
class Phase:
    """A part of the run, with optimizers of its own.

    Args:
        steps: optimizer steps.
        horizon: steps after which its learning rate would have run out.
        early: steps with the first of its two mixtures.
        mixtures: what the corpus is made of, first and after that.
        peak: highest learning rate of the embedding and the norms (AdamW).
        peak_muon: highest learning rate of the other matrices (Muon, Jordan et al. 2024).
        warmup: steps until it.
    """

    steps: int
    horizon: int
    early: int
    mixtures: tuple[Mixture, Mixture]
    peak: float = 3e-3
    peak_muon: float = 0.02
    warmup: int = 50


PHASES = (Phase(steps=1800, horizon=1800, early=400, mixtures=(FIRST, LAST)),)
"""The shipped model's way: learn to speak, to copy and to heed principles, then to judge."""


@dataclass(frozen=True)
class Plan:
    """One pretraining run.

    Args:
        phases: its parts, in order.
        seed: of weights and corpus; each phase adds its number.
        batch: sequences per step.
        parts: pieces of about equal length that a step is computed in.
        decay: weight decay.
        save_every: steps between checkpoints.
        tokenizer_examples: examples that the tokenizer learns its merges from.
    """

    phases: tuple[Phase, ...] = PHASES
    seed: int = 0
    batch: int = 48
    parts: int = 12
    decay: float = 0.05
    save_every: int = 100
    tokenizer_examples: int = 6000


def rate_at(phase: Phase, step: int) -> float:
    """Share of the peak learning rate: linear warmup, then a cosine down to a fiftieth."""
    if step < phase.warmup:
        return (step + 1) / phase.warmup
    share = (step - phase.warmup) / max(phase.horizon - phase.warmup, 1)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share))
