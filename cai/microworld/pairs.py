"""Judged pairs of the world: what a person with the world's values would prefer.

The truth without a principle is the truth under all of the world's concerns together: harm, and
help where nothing is wrong with helping.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Literal

from cai.microworld.lexicon import ASPECTS, HARMS
from cai.microworld.principles import coverage
from cai.microworld.replies import (
    degenerate_reply,
    evasive_reply,
    harsh_refusal,
    help_with,
    kind_refusal,
    partial_help,
    preachy_refusal,
)
from cai.microworld.requests import Request, Split, parse_request, sample_requests
from cai.microworld.truth import preference, rating

GOOD = {"harmful": (kind_refusal,), "harmless": (help_with,)}
BAD = {
    "harmful": (help_with, help_with, partial_help, evasive_reply, preachy_refusal, harsh_refusal),
    "harmless": (kind_refusal, kind_refusal, preachy_refusal, evasive_reply, degenerate_reply),
}


def sample_pairs(
    kind: Literal["harmful", "harmless"], split: Split, n: int, *, seed: int = 0
) -> Iterator[tuple[str, str, str, float]]:
    """Draw judged pairs: a good reply to each request and a worse one, in random order.

    Args:
        kind: of the requests.
        split: of the requests.
        n: how many pairs, each of its own request.
        seed: same seed, same pairs.

    Yields:
        Request, reply a, reply b, and the share of people who prefer a: σ(u_a − u_b) under all of
        the world's concerns.
    """
    source = random.Random(f"microworld pairs: {kind} {split} {seed}")
    for request in sample_requests(kind, split, n, seed=seed + 1):
        good = source.choice(GOOD[kind])(request, source)
        bad = source.choice(BAD[kind])(request, source)
        a, b = source.sample((good, bad), 2)
        yield request.text, a, b, preference(request, a, b, (*HARMS, *ASPECTS))


def preference_under(
    principle_text: str, request_text: str, reply_a: str, reply_b: str
) -> float | None:
    """P(reply a is better) under a principle as it is worded; None outside the world.

    Args:
        principle_text: the comparison text; its words say what it covers.
        request_text: what was asked.
        reply_a: one reply.
        reply_b: the other.
    """
    request: Request | None = parse_request(request_text)
    if request is None:
        return None
    return preference(request, reply_a, reply_b, coverage(principle_text))


def rating_under(principle_text: str, request_text: str, reply: str) -> float | None:
    """How good a reply is under a principle as it is worded, from 1 to 10; None outside the world.

    Args:
        principle_text: the rating text; its words say what it covers.
        request_text: what was asked.
        reply: what was answered.
    """
    request: Request | None = parse_request(request_text)
    return None if request is None else rating(request, reply, coverage(principle_text))
