"""Anthropic's Message Batches, over the official SDK.

A batch is one request that holds all of them; it carries nothing of ours but the custom ids. So one
that was made without our knowing is told by its results, once it has ended.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Generator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import orjson

from cai.errors import ModelError, PermanentError, TransientError
from cai.models.anthropic import SAMPLING_FIELDS, connected, headers_for
from cai.models.batches import (
    EARLIER,
    NOT_MADE,
    BatchLimits,
    BatchLine,
    BatchOrder,
    BatchResult,
    BatchState,
    NothingMade,
    Search,
    SentBatch,
    submitting,
)
from cai.models.json_lines import read_json_lines
from cai.models.messages_wire import status_error
from cai.models.sdk_errors import sdk_errors
from cai.models.wire import HttpReply, WireCall

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from anthropic.types.messages import MessageBatch

    from cai.models.messages_endpoint import MessagesEndpoint

LIMITS = BatchLimits(requests=100_000, bytes=256_000_000)
"""As documented in November 2026."""

PATH = "/v1/messages/batches"

WITH_SAMPLING = "with sampling"
"""The group of requests that only an older version of the API takes."""

STATUSES: Mapping[str, int] = {
    "invalid_request_error": 400,
    "invalid_request": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that an error of each type has outside of a batch."""

UNANSWERED: Mapping[str, str] = {
    "expired": "the batch expired before it was answered",
    "canceled": "the batch was cancelled before it was answered",
}


@dataclass
class AnthropicBatches:
    """A `BatchService` at Anthropic's address or one like it; owns its connections.

    Args:
        endpoint: the model and how it is reached.
    """

    endpoint: MessagesEndpoint
    limits: BatchLimits = LIMITS
    _client: AsyncAnthropic | None = field(default=None, init=False, repr=False)

    def group(self, call: WireCall[Any]) -> str:
        """Whether temperature or top_p is asked for: they need another version of the API."""
        return "" if SAMPLING_FIELDS.isdisjoint(call.body) else WITH_SAMPLING

    async def send(self, order: BatchOrder, group: str, lines: Sequence[BatchLine]) -> SentBatch:
        """Make a batch of the requests; as `BatchService.send`."""
        from anthropic.types.messages import MessageBatch

        content = b'{"requests":[' + b",".join(map(_line, lines)) + b"]}"
        with submitting(), self._asking(PATH) as client:
            headers = headers_for(client.api_key, takes_sampling=group == WITH_SAMPLING)
            options: Any = {"headers": headers | {"Content-Type": "application/json"}}
            made = await client.post(PATH, cast_to=MessageBatch, content=content, options=options)
        return SentBatch(made.id)

    async def find(self, order: BatchOrder, known: Collection[str]) -> Search:
        """Look at the first result of every batch of our size and time; as `BatchService.find`."""
        still_open: list[str] = []
        closed: list[str] = []
        for batch in await self._candidates(order, known):
            if batch.processing_status != "ended":
                still_open.append(batch.id)
            elif batch.archived_at is not None or not batch.results_url:
                closed.append(batch.id)
            elif await self._is_ours(batch.id, order):
                return Search(SentBatch(batch.id))
        return Search(None, tuple(still_open), tuple(closed))

    async def look(self, batch: str) -> BatchState:
        """Retrieve a batch; as `BatchService.look`."""
        with self._asking(f"{PATH}/{batch}") as client:
            headers = headers_for(client.api_key, takes_sampling=False)
            return _state(await client.messages.batches.retrieve(batch, extra_headers=headers))

    async def results(self, batch: str) -> AsyncGenerator[BatchResult, None]:
        """Read the results; as `BatchService.results`."""
        path = f"{PATH}/{batch}/results"
        with self._asking(path) as client:
            headers = headers_for(client.api_key, takes_sampling=False)
            found = await client.messages.batches.retrieve(batch, extra_headers=headers)
            self._check_address(found.results_url or "")
            reading = client.messages.batches.with_streaming_response
            async with reading.results(batch, extra_headers=headers) as reply:
                lines = read_json_lines(reply.iter_bytes(), f"{self.endpoint.url}{path}")
                async with aclosing(lines):
                    async for line in lines:
                        yield _result(line)

    async def cancel(self, batch: str) -> BatchState:
        """Cancel a batch; as `BatchService.cancel`."""
        with self._asking(f"{PATH}/{batch}/cancel") as client:
            headers = headers_for(client.api_key, takes_sampling=False)
            return _state(await client.messages.batches.cancel(batch, extra_headers=headers))

    async def tidy(self, sent: SentBatch) -> None:
        """Nothing was uploaded beside the batch, which the provider keeps for 29 days."""

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _candidates(self, order: BatchOrder, known: Collection[str]) -> list[MessageBatch]:
        found: list[MessageBatch] = []
        with self._asking(PATH) as client:
            headers = headers_for(client.api_key, takes_sampling=False)
            async for batch in client.messages.batches.list(limit=100, extra_headers=headers):
                if batch.created_at.timestamp() < order.created - EARLIER:
                    break
                if batch.id not in known and _size(batch) == order.requests:
                    found.append(batch)
        return found

    async def _is_ours(self, batch: str, order: BatchOrder) -> bool:
        async with aclosing(self.results(batch)) as results:
            async for result in results:
                return result.custom_id.endswith(f"-{order.token}")
        return False

    def _check_address(self, url: str) -> None:
        """The results have an address of their own: the key is not sent to another server."""
        host = urlsplit(url).netloc
        if host and host != urlsplit(self.endpoint.url).netloc:
            raise PermanentError(
                f"{self.endpoint.url} has the results at {host}, and requests are not sent on "
                "with their key; set `endpoint` to the right address"
            )

    @contextmanager
    def _asking(self, path: str) -> Generator[AsyncAnthropic, None, None]:
        """Turn what the SDK raises inside the block into the `ModelError` that it means."""
        with sdk_errors("anthropic", f"{self.endpoint.url}{path}", _status_error):
            if self._client is None:
                self._client = connected(self.endpoint)
            yield self._client


def _status_error(error: Any, url: str) -> ModelError:
    answer = error.response
    told = status_error(answer.status_code, answer.headers, answer.content, url)
    if isinstance(told, TransientError):
        nothing = answer.status_code in NOT_MADE
        return NothingMade(str(told), told.retry_after, told.cause) if nothing else told
    return PermanentError(str(told))


def _line(line: BatchLine) -> bytes:
    return orjson.dumps({"custom_id": line.custom_id, "params": orjson.Fragment(line.body)})


def _size(batch: MessageBatch) -> int:
    counts = batch.request_counts
    ended = counts.succeeded + counts.errored + counts.canceled + counts.expired
    return ended + counts.processing


def _state(batch: MessageBatch) -> BatchState:
    total = _size(batch)
    phase = "ended" if batch.processing_status == "ended" else "working"
    cancelled = batch.cancel_initiated_at is not None
    done = total - batch.request_counts.processing
    return BatchState(phase, batch.processing_status, done, total, cancelled)


def _result(line: Mapping[str, Any]) -> BatchResult:
    custom_id = str(line.get("custom_id"))
    given: Any = line.get("result")
    result = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    kind = str(result.get("type"))
    if kind == "succeeded":
        return BatchResult(custom_id, HttpReply(200, {}, orjson.dumps(result.get("message"))))
    if kind == "errored":
        error = _error(result)
        status = STATUSES.get(str(error.get("type")), 500)
        content = orjson.dumps({"type": "error", "error": error})
        return BatchResult(custom_id, HttpReply(status, {}, content))
    return BatchResult(custom_id, None, UNANSWERED.get(kind) or f"a result of type {kind!r}")


def _error(result: Mapping[str, Any]) -> dict[str, Any]:
    """The error with type and message, which stands in another object of type "error"."""
    given: Any = result.get("error")
    outer = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    inner: Any = outer.get("error")
    return cast("dict[str, Any]", inner) if isinstance(inner, dict) else outer
