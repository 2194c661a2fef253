"""What a person asks, as a list of turns, and how it is named."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Literal

import orjson

Role = Literal["system", "user", "assistant"]
MessageRole = Role | Literal["text"]
"""Whose turn a message is; "text": it is a whole plain text, for a model that goes on with it."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation, or the whole of a plain text."""

    role: MessageRole
    content: str


def digest(value: Any) -> str:
    """Hash any JSON-like value to 32 hexadecimal digits; a record hashes as its JSON data does."""
    option = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS
    encoded = orjson.dumps(value, default=asdict, option=option)
    return hashlib.sha256(encoded).hexdigest()[:32]


@dataclass(frozen=True)
class Prompt:
    """What a person asks: optional system, alternating turns, ending with the user.

    Args:
        messages: the conversation so far.
        source: name of the prompt set it comes from, for provenance and counts.
        kind: what the source says of it, such as "harmful" or "harmless"; empty if it says nothing.
    """

    messages: tuple[Message, ...]
    source: str
    kind: str = ""

    @property
    def id(self) -> str:
        """Hash of messages and source: the same prompt has the same id in every run."""
        return digest([self.messages, self.source])[:16]

    @property
    def text_hash(self) -> str:
        """Hash of the messages alone: splits, disjointness and exact dedup are functions of it."""
        return digest(self.messages)
