"""What the pretraining corpus is made of, from first to last: a curriculum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Mixture:
    """What the corpus is made of for a while.

    Args:
        shares: share of each task among the examples.
        letter_weight: weight of the judge's one letter among the other tokens of the loss.
        stress: weight of the word of a critique that says whether the rule names the harm.
        most: number of families that a principle covers at most. Whether a principle of many
            names a harm is learned only by a model that can tell it of a principle of one.
    """

    shares: Mapping[str, float]
    letter_weight: float
    stress: float
    most: int = 5


FIRST = Mixture(
    {
        "compare": 0.08,
        "critique": 0.46,
        "revise": 0.22,
        "respond": 0.16,
        "write_prompts": 0.05,
        "chat": 0.03,
    },
    most=1,
    letter_weight=8.0,
    stress=20.0,
)
"""First the model learns to speak, to copy, and to tell what a principle names."""
MIDDLE = Mixture(
    {
        "compare": 0.30,
        "critique": 0.32,
        "revise": 0.18,
        "respond": 0.13,
        "write_prompts": 0.04,
        "chat": 0.03,
    },
    most=3,
    letter_weight=12.0,
    stress=15.0,
)
"""Then to judge by it."""
LAST = Mixture(
    {
        "compare": 0.38,
        "critique": 0.22,
        "revise": 0.20,
        "respond": 0.12,
        "write_prompts": 0.05,
        "chat": 0.03,
    },
    most=5,
    letter_weight=16.0,
    stress=8.0,
)
"""At last everything as it is met in use, for a judge that is calibrated."""
