"""What a call will use, as far as can be told before it is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cai.models.limits import Kind
from cai.records import Message, Usage

TOKEN_BYTES = 3
"""Bytes of a token: 4 or more in English, about 3 in most other languages."""

TURN_TOKENS = 8
"""Tokens that a chat template puts around a message, roughly."""


class Need(NamedTuple):
    """Requests and tokens of a call, or of several together."""

    requests: int = 1
    input_tokens: int = 0
    output_tokens: int = 0

    def amount(self, kind: Kind) -> int:
        """How much of what a limit of this kind counts."""
        if kind == "requests":
            return self.requests
        if kind == "tokens":
            return self.input_tokens + self.output_tokens
        return self.input_tokens if kind == "input_tokens" else self.output_tokens

    def plus(self, other: Need) -> Need:
        """Both together."""
        return Need(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
        )

    @property
    def usage(self) -> Usage:
        """Its tokens."""
        return Usage(self.input_tokens, self.output_tokens)


ONE_REQUEST = Need()
"""The need of a call whose tokens nobody counts."""


def need_of(messages: Sequence[Message], max_tokens: int) -> Need:
    """An estimate: tokens by the length of what is sent, and the longest reply allowed.

    Args:
        messages: as sent.
        max_tokens: the most that the model may write.
    """
    sent = sum(len(message.content.encode("utf-8", "replace")) for message in messages)
    return Need(1, sent // TOKEN_BYTES + TURN_TOKENS * len(messages), max_tokens)
