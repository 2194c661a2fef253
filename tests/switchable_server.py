"""A chat server in this process, whose answers depend on the request alone, and can be broken.

Replies have 4 to 11 words, a token each, and are cut off where the request says.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

WORDS = ("the", "kind", "quiet", "answer", "helps", "people", "who", "ask", "for", "bread")


class SwitchableServer(ThreadingHTTPServer):
    """Requests that have the text of `failing` in them get `status` in place of an answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.asked: list[dict[str, Any]] = []
        self.failing = b"no request has this"
        self.status = 500
        self.mass = 1.0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SwitchableServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = orjson.loads(body)
        self.server.asked.append(asked)
        if self.server.failing in body:
            self._answer(self.server.status, {"error": {"message": "the server is broken"}})
            return
        sent = orjson.dumps([asked["messages"], asked.get("seed")])
        numbers = hashlib.sha256(sent).digest()
        if asked.get("logprobs"):
            choice = weighed(numbers, self.server.mass)
        else:
            choice = written(numbers, asked["max_tokens"])
        written_tokens = len(choice["message"]["content"].split())
        usage = {"prompt_tokens": 10, "completion_tokens": written_tokens}
        self._answer(200, {"model": asked["model"], "choices": [choice], "usage": usage})

    def _answer(self, status: int, answer: dict[str, Any]) -> None:
        body = orjson.dumps(answer)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


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
    with SwitchableServer() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
