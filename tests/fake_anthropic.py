"""Anthropic's Messages API as documented, with answers that a test can choose.

It refuses what the API refuses (a wrong key, sampling that a model does not take, prefill, blank
texts …) in the API's own words, keeps a prompt cache, and counts tokens as words. In the loop of a
test it is used through `fake_anthropic`; run as a process, it prints its address, refuses every
fifth request as overloaded in words that repeat the key, and answers by the hash of the rest.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from cai.models import ModelSettings, open_model
from cai.records import Completion, Message, Sampling

KEY = "sk-ant-api03-planted-0123456789"
ASK = (Message("user", "hello"),)
PLAIN = Sampling()
WORDS = ("the", "kind", "quiet", "answer", "helps", "people", "who", "ask", "for", "bread")

NO_SAMPLING = ("4-7", "4-8", "opus-5", "sonnet-5", "haiku-5")
NO_PREFILL = ("4-6", *NO_SAMPLING)
ALWAYS_THINKS = ("opus-5-5", "fable")

LIMITS = {
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "49",
    "anthropic-ratelimit-requests-reset": "2099-01-01T00:00:00Z",
    "anthropic-ratelimit-input-tokens-limit": "30000",
    "anthropic-ratelimit-input-tokens-remaining": "29000",
    "anthropic-ratelimit-input-tokens-reset": "2020-01-01T00:00:00Z",
}


@dataclass(frozen=True)
class Answer:
    """A whole answer: a message, an error, or bytes that are neither."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def message(*content: Any, stop_reason: str | None = "end_turn", **usage: int) -> Answer:
    """A message of these blocks; a text stands for a block of text."""
    blocks = [{"type": "text", "text": one} if isinstance(one, str) else one for one in content]
    counted = {"input_tokens": 3, "output_tokens": 5} | usage
    return Answer(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-reported",
            "content": blocks,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": counted,
        }
    )


def error(status: int, kind: str, words: str, code: str = "", **headers: str) -> Answer:
    """An error of this type; headers with "_" for "-"."""
    details = {"details": {"error_code": code}} if code else {}
    body = {"type": "error", "error": {"type": kind, "message": words, **details}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(body | {"request_id": "req_1"}, status, {"request-id": "req_1"} | named)


def thinking(text: str) -> dict[str, str]:
    return {"type": "thinking", "thinking": text, "signature": "c2lnbmF0dXJl"}


@dataclass
class FakeAnthropic:
    """The server's state: what it was asked, and what it will answer before it makes up its own."""

    answers: list[Answer] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    overloaded_every: int = 0
    url: str = ""
    _cached: set[bytes] = field(default_factory=set)

    def model(self, name: str = "claude-opus-5", **options: Any) -> Any:
        """The adapter before this server, with the key of the variable TEST_KEY."""
        given = {"endpoint": self.url, "api_key_env": "TEST_KEY"} | options
        return open_model(ModelSettings(name=f"anthropic:{name}", **given))

    async def complete(
        self,
        name: str = "claude-opus-5",
        messages: Sequence[Message] = ASK,
        sampling: Sampling = PLAIN,
        **options: Any,
    ) -> Completion:
        """What the adapter makes of one reply."""
        model = self.model(name, **options)
        try:
            return await model.complete(messages, sampling)
        finally:
            await model.close()

    async def messages(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        answer = self._answer(body, request.headers)
        content = answer.body if isinstance(answer.body, bytes) else orjson.dumps(answer.body)
        headers = {"Content-Type": "application/json"} | LIMITS | dict(answer.headers)
        return web.Response(body=content, status=answer.status, headers=headers)

    def _answer(self, body: dict[str, Any], headers: Mapping[str, str]) -> Answer:
        if headers.get("Authorization") not in (None, f"Bearer {KEY}"):
            return error(401, "authentication_error", "invalid x-api-key")
        if self.overloaded_every and len(self.bodies) % self.overloaded_every == 0:
            words = f"Overloaded ({headers.get('Authorization')})"
            return error(529, "overloaded_error", words, retry_after="0")
        if fault := fault_of(body, headers["anthropic-version"]):
            return error(400, "invalid_request_error", fault)
        if self.answers:
            return self.answers.pop(0)
        return message(made_up(body, len(self.bodies)), **self._usage(body))

    def _usage(self, body: dict[str, Any]) -> dict[str, int]:
        plain, written, read = 0, 0, 0
        running = hashlib.sha256(body["model"].encode())
        for block in blocks_of(body):
            running.update(orjson.dumps([block["role"], block["text"]]))
            plain += len(block["text"].split())
            if block.get("cache_control") is not None:
                known = running.digest() in self._cached
                self._cached.add(running.digest())
                read, written = (plain, 0) if known else (0, plain)
                plain = 0
        cached = {"cache_creation_input_tokens": written, "cache_read_input_tokens": read}
        return {"input_tokens": plain, "output_tokens": 5} | cached


def blocks_of(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All blocks of text in their order, each with its role."""
    turns = [{"role": "system", "content": body.get("system", [])}, *body["messages"]]
    return [{**block, "role": turn["role"]} for turn in turns for block in turn["content"]]


def fault_of(body: Mapping[str, Any], version: str) -> str:
    """What the API finds wrong with a request, in its own words; empty if nothing."""
    model, turns = body["model"], body["messages"]
    for name in ("temperature", "top_p"):
        if name in body and version != "2023-06-01":
            return f"{name}: Extra inputs are not permitted"
        if name in body and any(part in model for part in NO_SAMPLING):
            return f"`{name}` is deprecated for this model."
    if "temperature" in body and "top_p" in body and "sonnet-4-2" not in model:
        return "`temperature` and `top_p` cannot both be specified for this model."
    if "seed" in body:
        return "seed: Extra inputs are not permitted"
    if [turn["role"] for turn in turns] != (["user", "assistant"] * len(turns))[: len(turns)]:
        return 'messages: first message must use the "user" role and roles must alternate'
    if not all(block["text"].strip() for block in blocks_of(body)):
        return "messages: text content blocks must contain non-whitespace text"
    if turns[-1]["role"] == "assistant":
        if any(part in model for part in NO_PREFILL):
            return "This model does not support assistant message prefill."
        if turns[-1]["content"][-1]["text"][-1].isspace():
            return "messages: final assistant content cannot end with trailing whitespace"
    if sum("cache_control" in block for block in blocks_of(body)) > 4:
        return "A maximum of 4 blocks with cache_control may be provided."
    return thinking_fault(model, body.get("thinking", {}).get("type"))


def thinking_fault(model: str, kind: str | None) -> str:
    refused = {
        "disabled": [*ALWAYS_THINKS, "sonnet-5-5"],
        "between_tools": [name for name in (model,) if "sonnet-5-5" not in name],
        "adaptive": ["4-5", "4-1", "-3-"],
    }
    if kind and any(part in model for part in refused[kind]):
        return f'"thinking.type.{kind}" is not supported for this model.'
    return ""


def made_up(body: Mapping[str, Any], number: int) -> str:
    """Words by the hash of the request, or a letter where one is asked for."""
    numbers = hashlib.sha256(orjson.dumps([body["messages"], number])).digest()
    if "Answer with A or B alone." in body["messages"][-1]["content"][-1]["text"]:
        return "AB"[numbers[0] % 2]
    return " ".join(WORDS[number % len(WORDS)] for number in numbers[:8])


@asynccontextmanager
async def fake_anthropic(*answers: Answer) -> AsyncGenerator[FakeAnthropic, None]:
    """Serve in this loop until the block ends; the given answers come first."""
    fake = FakeAnthropic(list(answers))
    runner = await _start(fake)
    yield fake
    await runner.cleanup()


async def _start(fake: FakeAnthropic) -> web.AppRunner:
    app = web.Application()
    app.router.add_post("/v1/messages", fake.messages)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    return runner


async def main() -> None:
    fake = FakeAnthropic(overloaded_every=5)
    await _start(fake)
    sys.stdout.write(f"{fake.url}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
