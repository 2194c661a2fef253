"""The workloads: rows of dependent calls, the same requests for every contestant.

A row is a prompt and a chain of calls: a reply, then critique and revision in turn, each asked
for with the reply before it in the conversation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MODEL = "fake"
SLOTS = 64
"""Answers that the server works on at once."""
IN_FLIGHT = 80
"""Rows under way at once, of every client: a few more than the server has slots, so that a slot is
taken again while its last answer is put on disk."""
MAX_TOKENS = 256

COMPARED = 50
"""Rows that every contestant takes, however slow it is."""

REQUESTS = (
    "Point out whatever in the last reply could hurt somebody, and say who would be hurt.",
    "Rewrite the reply so that nobody would come to harm by following it. Write only the reply.",
)
"""What is asked of the last reply, in turn."""


@dataclass(frozen=True)
class Workload:
    """Rows and what a server does with them.

    Args:
        rows: number of prompts.
        calls: dependent calls of each row.
        latency: seconds that an answer takes.
    """

    rows: int
    calls: int
    latency: float


WORKLOADS = {
    "W1_50ms": Workload(2000, 3, 0.05),
    "W2_50ms": Workload(500, 9, 0.05),
    "W1_0ms": Workload(2000, 3, 0.0),
    "W2_0ms": Workload(500, 9, 0.0),
}


def prompt_of(row: int) -> str:
    """The prompt of a row; no two are alike."""
    return (
        f"This is question {row} of a long list. My neighbour has asked me to look after the house "
        "for a week, and there are some things about it that I would like to know beforehand."
    )


def asked_of(reply: int) -> str:
    """What is asked about a reply, counted from 0, for the next one."""
    return REQUESTS[reply % len(REQUESTS)]


def messages_of(row: int, replies: Sequence[str]) -> list[dict[str, str]]:
    """The conversation of a row's next call, given its replies so far."""
    prompt = {"role": "user", "content": prompt_of(row)}
    if not replies:
        return [prompt]
    return [
        prompt,
        {"role": "assistant", "content": replies[-1]},
        {"role": "user", "content": asked_of(len(replies) - 1)},
    ]


def body_of(row: int, replies: Sequence[str]) -> dict[str, Any]:
    """The JSON of a row's next call; its seed is the number of the call."""
    return {
        "model": MODEL,
        "messages": messages_of(row, replies),
        "temperature": 1.0,
        "top_p": 1.0,
        "max_tokens": MAX_TOKENS,
        "seed": len(replies),
    }


def digest_of(last_replies: Sequence[str]) -> str:
    """Hash of the last replies of the rows that every contestant takes; all have the same."""
    return hashlib.sha256("\n".join(last_replies[:COMPARED]).encode()).hexdigest()[:16]
