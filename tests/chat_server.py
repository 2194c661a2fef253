"""A server in this process that speaks OpenAI's chat completions, streamed or whole.

What it answers is a function of the request: a text, a `Reply`, or a `Failure`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.loopback import LoopbackHandler, LoopbackServer, serving


@dataclass(frozen=True)
class Reply:
    """A finished chat completion; a streamed one has a chunk per word."""

    text: str
    finish_reason: str | None = "stop"
    message: Mapping[str, Any] = field(default_factory=dict)
    choice: Mapping[str, Any] = field(default_factory=dict)
    usage: Mapping[str, int] | None = field(
        default_factory=lambda: {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    )
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """Any other answer: a status with a body as it stands."""

    status: int
    body: bytes = b'{"error": {"message": "the server says no", "code": null}}'
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0
    cut: bool = False


Answer = Callable[[dict[str, Any]], "str | Reply | Failure"]


class ChatServer(LoopbackServer):
    def __init__(self, answer: Answer) -> None:
        super().__init__(Handler, "/v1")
        self.answer = answer
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    @property
    def questions(self) -> list[str]:
        """The last message of each request."""
        return [body["messages"][-1]["content"] for body in self.asked]


class Handler(LoopbackHandler):
    server: ChatServer

    def do_POST(self) -> None:
        body = orjson.loads(self.read_body())
        self.server.asked.append(body)
        self.server.keys.append(self.headers["Authorization"])
        answer = self.server.answer(body)
        if isinstance(answer, Failure):
            self._fail(answer)
        elif body.get("stream"):
            self._stream(answer if isinstance(answer, Reply) else Reply(answer), body)
        else:
            self._whole(answer if isinstance(answer, Reply) else Reply(answer), body)

    def _fail(self, failure: Failure) -> None:
        time.sleep(failure.seconds)
        self.begin(failure.status, len(failure.body) + 100 * failure.cut, failure.headers)
        self.wfile.write(failure.body)
        self.close_connection = failure.cut

    def _whole(self, reply: Reply, body: Mapping[str, Any]) -> None:
        message = {"role": "assistant", "content": reply.text, **reply.message}
        ended = {"index": 0, "finish_reason": reply.finish_reason}
        content = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{**ended, "message": message, **reply.choice}],
            "usage": reply.usage,
        }
        self.answer_json(content, 200, reply.headers)

    def _stream(self, reply: Reply, body: Mapping[str, Any]) -> None:
        first, *rest = reply.text.split(" ")
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": first}]
        deltas += [{"content": f" {word}"} for word in rest]
        chunks = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        chunks.append({"index": 0, "delta": {}, "finish_reason": reply.finish_reason})
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
        lines = [{**head, "model": body["model"], "choices": [chunk]} for chunk in chunks]
        events = [b"data: " + orjson.dumps(line) + b"\n\n" for line in lines]
        content = b"".join([*events, b"data: [DONE]\n\n"])
        self.answer(content, 200, {"Content-Type": "text/event-stream"})


@contextmanager
def chat_server(answer: Answer) -> Generator[ChatServer, None, None]:
    """Serve until the block ends."""
    with serving(ChatServer(answer)) as server:
        yield server
