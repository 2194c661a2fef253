"""What the fake server answers: functions of the request alone, about 60 tokens long."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

ANSWER_WORDS = 60
"""Words of an answer; the server counts each as a token."""

_BEGINNINGS = ("ba", "de", "fi", "go", "hu", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "wo")
_ENDINGS = ("bel", "dor", "fan", "gim", "hun", "kas", "lep", "mir", "nod", "pul", "rat", "sen")
_POSSIBLE = tuple(beginning + ending for beginning in _BEGINNINGS for ending in _ENDINGS)
WORDS = tuple(_POSSIBLE[byte % len(_POSSIBLE)] for byte in range(256))
"""A word for each byte of a hash."""

_NEITHER = 0.02
"""Probability of a first token that is neither (A) nor (B)."""


def request_digest(asked: Mapping[str, Any]) -> bytes:
    """Hash of what determines the answer, however a client spells the rest of its request.

    Raises:
        KeyError, TypeError: it is no completion request.
    """
    told = [asked["model"], asked.get("messages"), asked.get("prompt"), asked.get("seed")]
    encoded = orjson.dumps([*told, weighs(asked)], option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(encoded).digest()


def weighs(asked: Mapping[str, Any]) -> bool:
    """True if the first token's alternatives are wanted, as for a choice between (A) and (B)."""
    wanted = asked.get("top_logprobs") if "messages" in asked else asked.get("logprobs")
    return bool(wanted) and asked.get("max_tokens") == 1


def chat_answer(asked: Mapping[str, Any], digest: bytes) -> dict[str, Any]:
    """The JSON of a chat completion, for a request and its `request_digest`."""
    words = _words(asked, digest)
    logprobs: list[dict[str, Any]] = []
    if weighs(asked):
        top = [{"token": token, "logprob": number} for token, number in _first_token(digest)]
        words = [top[0]["token"]]
        logprobs = [{**top[0], "top_logprobs": top}]
    elif asked.get("logprobs"):
        logprobs = [
            {"token": word, "logprob": _logprob(byte), "top_logprobs": []}
            for word, byte in zip(words, digest, strict=False)
        ]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": " ".join(words)},
        "finish_reason": _finish(words),
        "logprobs": {"content": logprobs} if asked.get("logprobs") else None,
    }
    return _answer("chat.completion", asked, digest, choice, len(words))


def text_answer(asked: Mapping[str, Any], digest: bytes) -> dict[str, Any]:
    """The JSON of a plain completion, for a request and its `request_digest`."""
    words = _words(asked, digest)
    top: list[dict[str, float]] = [{} for _ in words]
    if weighs(asked):
        first = dict(_first_token(digest))
        words, top = [next(iter(first))], [first]
    logprobs = {
        "tokens": words,
        "token_logprobs": [_logprob(byte) for _, byte in zip(words, digest, strict=False)],
        "top_logprobs": top,
    }
    choice = {
        "index": 0,
        "text": " ".join(words),
        "finish_reason": _finish(words),
        "logprobs": logprobs if asked.get("logprobs") else None,
    }
    return _answer("text_completion", asked, digest, choice, len(words))


def _words(asked: Mapping[str, Any], digest: bytes) -> list[str]:
    longest = asked.get("max_tokens") or asked.get("max_completion_tokens") or ANSWER_WORDS
    return [WORDS[byte] for byte in digest[: min(ANSWER_WORDS, longest)]]


def _finish(words: Sequence[str]) -> str:
    return "stop" if len(words) == ANSWER_WORDS else "length"


def _first_token(digest: bytes) -> list[tuple[str, float]]:
    """Tokens with their natural log-probabilities, the likeliest first."""
    p = (digest[0] + 1) / 257 * (1 - _NEITHER)
    shares = {"A": p, "B": 1 - _NEITHER - p, "The": _NEITHER}
    falling = sorted(shares.items(), key=lambda entry: -entry[1])
    return [(token, math.log(share)) for token, share in falling]


def _logprob(byte: int) -> float:
    return -byte / 64


def _answer(
    kind: str, asked: Mapping[str, Any], digest: bytes, choice: Mapping[str, Any], written: int
) -> dict[str, Any]:
    # A token of English is about four characters; the exact number matters to nobody here.
    read = len(orjson.dumps(asked.get("messages") or asked.get("prompt"))) // 4
    return {
        "id": f"fake-{digest[:8].hex()}",
        "object": kind,
        "created": 0,
        "model": asked["model"],
        "choices": [choice],
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        },
    }
