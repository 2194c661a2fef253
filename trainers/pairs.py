"""Pairs of replies as the preference model and DPO learn from them.

Rows of the run's own data set have turns and a probability. Those of other tools may have plain
texts, whole conversations, and no probability, which is to say that the chosen reply has won.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from cai.sources.prompt_sets import PromptKind
from trainers.rows import BadRow, Row, turns_of

COLUMNS = ("prompt", "chosen", "rejected")
LABEL = "p_chosen"
"""The column of the probability; a file without it has hard labels, of 1."""

KIND = "kind"
"""The column that tells pairs of red-team prompts, "harmful", from all others."""

KINDS = (*get_args(PromptKind), "")
"""What may stand there; "" where nothing is known of a prompt."""


@dataclass(frozen=True)
class PairOfReplies:
    """A prompt with two replies.

    Args:
        prompt: turns that end with the user's.
        chosen: turns that end with the assistant's; so too the rejected.
        rejected: the other reply.
        p_chosen: probability that the chosen one is the better one, in [0, 1].
    """

    prompt: list[dict[str, str]]
    chosen: list[dict[str, str]]
    rejected: list[dict[str, str]]
    p_chosen: float


def read_pair(row: Row) -> PairOfReplies:
    """A row as a pair.

    Args:
        row: with `COLUMNS`, each a text or turns, and perhaps `LABEL`.

    Raises:
        BadRow: a side is no conversation that ends with a reply, or the label no probability.
    """
    prompt = turns_of(row["prompt"], "prompt", "user")
    chosen, rejected = (reply_after(prompt, row[side], side) for side in ("chosen", "rejected"))
    p_chosen = row.get(LABEL, 1.0)
    if not isinstance(p_chosen, int | float) or not 0 <= p_chosen <= 1:
        raise BadRow(f"p_chosen must be a probability, from 0 to 1; met {p_chosen!r}")
    return PairOfReplies(prompt, chosen, rejected, float(p_chosen))


def is_harmful(row: Row) -> bool:
    """Whether a pair is one of red-team prompts.

    Args:
        row: with `KIND`.

    Raises:
        BadRow: the kind is none of `KINDS`: under another name, red-team pairs would count as all
            others do.
    """
    kind = row.get(KIND)
    if kind not in KINDS:
        known = ", ".join(map(repr, KINDS))
        raise BadRow(f"kind must be one of {known}, where harmless_weight is not 1; met {kind!r}")
    return kind == "harmful"


def reply_after(prompt: list[dict[str, str]], value: Any, column: str) -> list[dict[str, str]]:
    """The turns after the prompt, which some tools repeat before the reply.

    Raises:
        BadRow: the value is neither a text nor turns that end with the assistant's.
    """
    turns = turns_of(value, column, "assistant")
    return turns[len(prompt) :] if turns[: len(prompt)] == prompt else turns
