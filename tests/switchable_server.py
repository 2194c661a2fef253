"""A chat server in this process, whose answers depend on the request alone, and can be broken.

Replies have 4 to 11 words, a token each, and are cut off where the request says.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import orjson

from tests.loopback import LoopbackHandler, LoopbackServer, serving

WORDS = ("the", "kind", "quiet", "answer", "helps", "people", "who", "ask", "for", "bread")


class SwitchableServer(LoopbackServer):
    """Requests that have the text of `failing` in them get `status` in place of an answer."""

    def __init__(self) -> None:
        super().__init__(Handler, "/v1")
        self.asked: list[dict[str, Any]] = []
        self.failing = b"no request has this"
        self.status = 500
        self.mass = 1.0


class Handler(LoopbackHandler):
    server: SwitchableServer

    def do_POST(self) -> None:
        body = self.read_body()
        asked = orjson.loads(body)
        self.server.asked.append(asked)
        if self.server.failing in body:
            self.answer_json({"error": {"message": "the server is broken"}}, self.server.status)
            return
        sent = orjson.dumps([asked["messages"], asked.get("seed")])
        numbers = hashlib.sha256(sent).digest()
        if asked.get("logprobs"):
            choice = weighed(numbers, self.server.mass)
        else:
            choice = written(numbers, asked["max_tokens"])
        written_tokens = len(choice["message"]["content"].split())
        usage = {"prompt_tokens": 10, "completion_tokens": written_tokens}
        self.answer_json({"model": asked["model"], "choices": [choice], "usage": usage})


def written(numbers: bytes, max_tokens: int) -> dict[str, Any]:
    words = [WORDS[number % len(WORDS)] for number in numbers[: 4 + numbers[-1] % 8]]
    text = " ".join(words[:max_tokens])
    ended = "length" if len(words) > max_tokens else "stop"
    message = {"role": "assistant", "content": text}
    return {"index": 0, "finish_reason": ended, "message": message}


def weighed(numbers: bytes, mass: float) -> dict[str, Any]:
    p = (numbers[0] + 1) / 258
    top = [
        {"token": letter, "logprob": math.log(mass * part)}
        for letter, part in (("A", p), ("B", 1 - p))
    ]
    content = [{**max(top, key=lambda one: one["logprob"]), "top_logprobs": top}]
    message = {"role": "assistant", "content": content[0]["token"]}
    logprobs = {"content": content}
    return {"index": 0, "finish_reason": "length", "message": message, "logprobs": logprobs}


@contextmanager
def switchable_server() -> Generator[SwitchableServer, None, None]:
    """Serve until the block ends."""
    with serving(SwitchableServer()) as server:
        yield server
