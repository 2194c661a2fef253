"""How a label is made: which question, under how many principles, and what becomes of its votes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cai.records import Sampling
from cai.stages.label_maths import RATING, Scale

Clamp = tuple[float, float] | Literal["hard"]
"""Bounds of a label's probability; or "hard": all of it to the likelier reply."""

REASONED_CLAMP = (0.4, 0.6)
"""Of labels after thinking aloud, whose probabilities are nearly 0 or 1 (Bai et al. 2022, §4.3)."""


@dataclass(frozen=True)
class Thinking:
    """Thinking aloud before the answer.

    Args:
        chains: independent thoughts about each pair; their votes are averaged. More than one is
            self-consistency, which did not help (Lee et al. 2023, App. M).
        sampling: how they are drawn; the papers take the likeliest.
    """

    chains: int
    sampling: Sampling


@dataclass(frozen=True)
class Labelling:
    """One way to label a pair.

    Args:
        way: "choice" between the two replies, or "rating" of each by itself.
        scale: of ratings.
        principles: number of principles drawn for a label, whose probabilities are averaged.
        orders: "average" both presentation orders, or let only those principles and chains vote
            whose two orders "agree".
        thinking: before a choice; None: the letter at once.
        clamp: what is done to the final probability; None for nothing.
        minimum_mass: least total probability of the options, in [0, 1].
    """

    way: Literal["choice", "rating"] = "choice"
    principles: int = 1
    orders: Literal["average", "agree"] = "average"
    thinking: Thinking | None = None
    clamp: Clamp | None = None
    minimum_mass: float = 0.5
    scale: Scale = RATING
