"""The formats of other programs: how each writes a conversation and a pair.

A format is two functions from what a run has to a row of JSON data; `FORMATS` is all that the
command knows of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cai.export.hard_pairs import HardPair

Row = Mapping[str, Any]
"""One row of JSON data; what is missing is an empty text or list, never null."""

WHENCE = ("prompt_id", "source", "principle", "model")
"""Columns of the run's data sets that every exported row keeps, so that it can be looked up."""


@dataclass(frozen=True)
class Format:
    """How a program reads its data.

    Args:
        conversation: makes a row to imitate, from a row of the supervised data set
            (`cai.datasets.sft`).
        pair: makes a row to prefer by.
    """

    conversation: Callable[[Row], Row]
    pair: Callable[[HardPair], Row]


def trl_conversation(row: Row) -> Row:
    """A row for `SFTTrainer`: ``messages`` ending with the reply to learn."""
    return {"messages": row["messages"], **_whence(row)}


def trl_pair(pair: HardPair) -> Row:
    """A row for `DPOTrainer` and `RewardTrainer`: ``prompt``, ``chosen`` and ``rejected``.

    ``p_chosen`` keeps the label that was made hard. No column is called ``margin``: `RewardTrainer`
    would take it into its loss.
    """
    return {
        "prompt": pair.prompt,
        "chosen": pair.chosen,
        "rejected": pair.rejected,
        "p_chosen": pair.p_chosen,
        **_whence(pair.about),
    }


FORMATS: Mapping[str, Format] = {"trl": Format(trl_conversation, trl_pair)}
"""By the name that ``--format`` takes."""


def _whence(row: Row) -> Row:
    return {name: row.get(name) or "" for name in WHENCE}
