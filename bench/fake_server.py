"""A server with OpenAI's wire format and no model: a process of its own to measure clients with.

It speaks HTTP/1.1 by hand on asyncio, because any web framework would be slower than the fastest
client. Its answers depend on the request alone. It listens on the loopback address only, prints
its address once it is up, and ends when the process that started it does.

    python -m bench.fake_server --latency 0.05 --slots 64 --failures 0.2

``POST /v1/chat/completions`` and ``POST /v1/completions`` answer; ``GET /counters`` tells what was
asked so far; ``GET /v1/models`` names the model.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

import orjson

from bench.fake_answers import chat_answer, request_digest, text_answer

HOST = "127.0.0.1"
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"

PARENT_SECONDS = 0.5
"""How often it is looked whether the process that started this one is still there."""

FAILURES = ("429_retry_after", "429", "500", "dropped", "half_sent")
"""Ways to fail: too many requests with and without a wait asked for, a fault of the server, a
connection closed before the answer, and one closed in the middle of it."""

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Behaviour:
    """How the server answers.

    Args:
        latency: seconds that an answer takes once it has a slot, ≥ 0.
        jitter: most seconds added to that, uniformly drawn, ≥ 0.
        slots: answers under way at once, at least 1; further requests queue.
        failures: share of completion requests that fail, in [0, 1].
        kinds: ways in which they fail, drawn uniformly from `FAILURES`.
        retry_after: seconds that a 429 asks to wait.
        seed: of jitter and failures.
    """

    latency: float = 0.0
    jitter: float = 0.0
    slots: int = 64
    failures: float = 0.0
    kinds: tuple[str, ...] = FAILURES
    retry_after: float = 1.0
    seed: int = 0


@dataclass
class Counters:
    """What the server was asked.

    Args:
        requests: completion requests that arrived.
        answers: those answered well.
        repeats: answers to a request that had been answered before.
        failures: failed requests, by kind.
        in_flight: requests that wait or are being answered now.
        most_in_flight: the most of these at once.
        most_in_service: the most that held a slot at once.
        cpu_seconds: processor time that the server has used.
    """

    requests: int = 0
    answers: int = 0
    repeats: int = 0
    failures: dict[str, int] = field(default_factory=dict[str, int])
    in_flight: int = 0
    most_in_flight: int = 0
    most_in_service: int = 0
    cpu_seconds: float = 0.0


class FakeModelServer:
    """Takes completion requests through a limited number of slots.

    Args:
        behaviour: delays, slots and failures.
    """

    def __init__(self, behaviour: Behaviour) -> None:
        """Begin with nothing asked."""
        self.counters = Counters()
        self._behaviour = behaviour
        self._random = random.Random(behaviour.seed)
        self._answered: set[bytes] = set()
        self._waiting: deque[tuple[Connection, str, bytes]] = deque()
        self._in_service = 0
        self._loop = asyncio.get_running_loop()

    def take(self, connection: Connection, method: str, path: str, body: bytes) -> None:
        """Answer a request on its connection, now or later."""
        if method == "POST" and path in (CHAT, TEXT):
            self._take_completion(connection, path, body)
        elif method == "GET" and path == "/counters":
            self.counters.cpu_seconds = time.process_time()
            connection.send(200, orjson.dumps(asdict(self.counters)))
        elif method == "GET" and path == "/v1/models":
            models = {"object": "list", "data": [{"id": "fake", "object": "model"}]}
            connection.send(200, orjson.dumps(models))
        else:
            connection.send(404, _error(f"there is no {method} {path} here"))

    def _take_completion(self, connection: Connection, path: str, body: bytes) -> None:
        counters = self.counters
        counters.requests += 1
        counters.in_flight += 1
        counters.most_in_flight = max(counters.most_in_flight, counters.in_flight)
        if self._in_service < self._behaviour.slots:
            self._serve(connection, path, body)
        else:
            self._waiting.append((connection, path, body))

    def _serve(self, connection: Connection, path: str, body: bytes) -> None:
        self._in_service += 1
        self.counters.most_in_service = max(self.counters.most_in_service, self._in_service)
        seconds = self._behaviour.latency
        if self._behaviour.jitter:
            seconds += self._random.uniform(0, self._behaviour.jitter)
        finish = partial(self._finish, connection, path, body)
        if seconds:
            self._loop.call_later(seconds, finish)
        else:
            finish()

    def _finish(self, connection: Connection, path: str, body: bytes) -> None:
        self._in_service -= 1
        self.counters.in_flight -= 1
        if self._behaviour.failures and self._random.random() < self._behaviour.failures:
            self._fail(connection, self._random.choice(self._behaviour.kinds))
        else:
            self._answer(connection, path, body)
        if self._waiting:
            self._serve(*self._waiting.popleft())

    def _answer(self, connection: Connection, path: str, body: bytes) -> None:
        try:
            asked = orjson.loads(body)
            digest = request_digest(asked)
            write = chat_answer if path == CHAT else text_answer
            answer = write(asked, digest)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            connection.send(400, _error(f"not a completion request: {error}"))
            return
        self.counters.answers += 1
        self.counters.repeats += digest in self._answered
        self._answered.add(digest)
        connection.send(200, orjson.dumps(answer))

    def _fail(self, connection: Connection, kind: str) -> None:
        self.counters.failures[kind] = self.counters.failures.get(kind, 0) + 1
        if kind == "429_retry_after":
            wait = f"Retry-After: {self._behaviour.retry_after:g}\r\n"
            connection.send(429, _error("too many requests"), wait)
        elif kind == "429":
            connection.send(429, _error("too many requests"))
        elif kind == "500":
            connection.send(500, _error("the model fell over"))
        elif kind == "half_sent":
            connection.send_half(_error("this answer is never sent to its end"))
        else:
            connection.drop()


class Connection(asyncio.Protocol):
    """One keep-alive connection: requests in, answers out, one after the other.

    Args:
        server: answers.
    """

    def __init__(self, server: FakeModelServer) -> None:
        """Begin with nothing received."""
        self._server = server
        self._received = b""
        self._answering = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it; an answer still to come goes nowhere."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Take the next request once all of it is there."""
        self._received += data
        self._next()

    def _next(self) -> None:
        end = self._received.find(b"\r\n\r\n")
        if self._answering or end < 0:
            return
        found = _CONTENT_LENGTH.search(self._received, 0, end)
        whole = end + 4 + (int(found.group(1)) if found else 0)
        if len(self._received) < whole:
            return
        head, body = self._received[:end], self._received[end + 4 : whole]
        self._received = self._received[whole:]
        method, path = head.split(b" ", 2)[:2]
        self._answering = True
        self._server.take(self, method.decode(), path.decode(), body)

    def send(self, status: int, content: bytes, headers: str = "") -> None:
        """Send an answer."""
        self._write(_head(status, len(content), headers) + content)
        self._answering = False
        self._next()

    def send_half(self, content: bytes) -> None:
        """Begin an answer, and close the connection in the middle of it."""
        self._write(_head(200, len(content), "") + content[: len(content) // 2])
        self.drop()

    def drop(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def _write(self, content: bytes) -> None:
        if self._transport is not None:
            self._transport.write(content)


def _head(status: int, length: int, headers: str) -> bytes:
    return (
        f"HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n{headers}\r\n"
    ).encode()


def _error(message: str) -> bytes:
    return orjson.dumps({"error": {"message": message, "type": "fake", "code": None}})


async def serve(behaviour: Behaviour, port: int = 0) -> None:
    """Serve until the process that started this one has ended; print the address first.

    Args:
        behaviour: delays, slots and failures.
        port: 0 takes any free one.
    """
    server = FakeModelServer(behaviour)
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Connection(server), HOST, port, backlog=4096)
    sys.stdout.write(f"http://{HOST}:{listening.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(PARENT_SECONDS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options and serve."""
    plain = Behaviour()
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--port", type=int, default=0, help="0: any free one")
    options.add_argument("--latency", type=float, default=plain.latency, help="seconds")
    options.add_argument("--jitter", type=float, default=plain.jitter, help="seconds, at most")
    options.add_argument("--slots", type=int, default=plain.slots, help="answers at once")
    options.add_argument("--failures", type=float, default=plain.failures, help="share in [0, 1]")
    options.add_argument("--kinds", nargs="+", choices=FAILURES, default=FAILURES)
    options.add_argument("--retry-after", type=float, default=plain.retry_after, help="seconds")
    options.add_argument("--seed", type=int, default=plain.seed, help="of jitter and failures")
    given = vars(options.parse_args(arguments))
    port = given.pop("port")
    asyncio.run(serve(Behaviour(**{**given, "kinds": tuple(given["kinds"])}), port))


if __name__ == "__main__":
    main()
