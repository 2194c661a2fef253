"""Which part of the data a prompt belongs to: a function of its messages' hash alone.

Never of order, count or time: adding prompts moves no other prompt, two runs over overlapping
prompt files agree, and no prompt can be in two parts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

from cai.records import digest

Purpose = Literal["sft", "preferences"]
Split = Literal["train", "test"]


def purpose_of(messages: Sequence[Any], sft_share: float) -> Purpose:
    """Whether a prompt serves the supervised stage or the preference stage; never both.

    Args:
        messages: the prompt's messages, as records or as JSON data (both hash alike).
        sft_share: share of prompts for the supervised stage, in [0, 1].
    """
    return "sft" if position(messages, "purpose") < sft_share else "preferences"


def split_of(messages: Sequence[Any], test_share: float) -> Split:
    """Whether a prompt is trained on or held out of training.

    Args:
        messages: the prompt's messages, as records or as JSON data (both hash alike).
        test_share: share of prompts held out, in [0, 1].
    """
    return "test" if position(messages, "split") < test_share else "train"


def position(messages: Sequence[Any], question: str) -> float:
    """A number in [0, 1), uniform over prompts and independent between questions."""
    hashed = hashlib.sha256(f"{question}:{digest(messages)}".encode()).digest()
    return int.from_bytes(hashed[:8], "big") / 2**64
