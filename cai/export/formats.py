"""The formats of other programs: how each writes a conversation and a pair.

A format is a few functions from what a run has to a row of JSON data; `FORMATS` is all that the
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


class NoPlace(Exception):
    """A pair cannot be said in a format; its text is the reason, for people."""


@dataclass(frozen=True)
class Format:
    """How a program reads its data.

    Args:
        conversation: makes a row to imitate, from a row of the supervised data set
            (`cai.datasets.sft`); None if the program reads none.
        pairs: by the data set that is written, makes a row to prefer by, or raises `NoPlace`.
    """

    conversation: Callable[[Row], Row] | None
    pairs: Mapping[str, Callable[[HardPair], Row]]


def trl_conversation(row: Row) -> Row:
    """A row of TRL, axolotl and open-instruct: ``messages`` ending with the reply to learn."""
    return {"messages": row["messages"], **_whence(row)}


def trl_pair(pair: HardPair) -> Row:
    """A row for `DPOTrainer` and `RewardTrainer`, and of OpenRLHF's: prompt, chosen, rejected.

    ``p_chosen`` keeps the label that was made hard. No column is called ``margin``: `RewardTrainer`
    and OpenRLHF would take it into their losses.
    """
    return {
        "prompt": pair.prompt,
        "chosen": pair.chosen,
        "rejected": pair.rejected,
        "p_chosen": pair.p_chosen,
        **_whence(pair.about),
    }


def axolotl_pair(pair: HardPair) -> Row:
    """A row of axolotl's ``type: chat_template.default`` for DPO: turns, then one turn each."""
    return {
        "messages": pair.prompt,
        "chosen": pair.chosen[-1],
        "rejected": pair.rejected[-1],
        "p_chosen": pair.p_chosen,
        **_whence(pair.about),
    }


def axolotl_flat_pair(pair: HardPair) -> Row:
    """A row of axolotl's ``type: bradley_terry.chat_template``, for reward models: texts alone.

    Raises:
        NoPlace: the conversation has several turns.
    """
    turns = list(pair.prompt)
    system = turns.pop(0)["content"] if turns[0]["role"] == "system" else ""
    if len(turns) != 1:
        raise NoPlace("several turns, where a flat row has one")
    return {
        "system": system,
        "input": turns[0]["content"],
        "chosen": pair.chosen[-1]["content"],
        "rejected": pair.rejected[-1]["content"],
        "p_chosen": pair.p_chosen,
        **_whence(pair.about),
    }


def whole_pair(pair: HardPair) -> Row:
    """A row of open-instruct's: both conversations whole, alike but for their last turn."""
    return {
        "chosen": [*pair.prompt, *pair.chosen],
        "rejected": [*pair.prompt, *pair.rejected],
        "p_chosen": pair.p_chosen,
        **_whence(pair.about),
    }


def openrlhf_conversation(row: Row) -> Row:
    """A row of OpenRLHF's with ``input_key: input``, ``output_key: output`` and a chat template."""
    *before, reply = row["messages"]
    return {"input": before, "output": [reply], **_whence(row)}


FORMATS: Mapping[str, Format] = {
    "trl": Format(trl_conversation, {"preferences": trl_pair}),
    "axolotl": Format(trl_conversation, {"preferences": axolotl_pair, "reward": axolotl_flat_pair}),
    "open-instruct": Format(trl_conversation, {"preferences": whole_pair}),
    "openrlhf": Format(openrlhf_conversation, {"preferences": trl_pair}),
}
"""By the name that ``--format`` takes."""


def _whence(row: Row) -> Row:
    return {name: row.get(name) or "" for name in WHENCE}
