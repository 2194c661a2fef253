"""OpenAI's Batch API, over the official SDK.

The requests are uploaded as a file of JSON lines, and the batch is made of the file. What was
answered comes back as one file, what was not as another. A batch carries metadata, so one that was
made without our knowing is found by them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Generator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import orjson

from cai.errors import ModelError, PermanentError, TransientError
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
from cai.models.chat_wire import raise_for_status
from cai.models.json_lines import read_json_lines
from cai.models.sdk_errors import sdk_errors
from cai.models.wire import HttpReply, WireCall
from cai.redaction import redacted

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import Batch

    from cai.models.openai_endpoint import Endpoint

LIMITS = BatchLimits(requests=50_000, bytes=200_000_000)
"""As documented in November 2026."""

TOKEN, DIGEST = "cai_batch", "cai_digest"
"""Names of the metadata."""

QUEUE_FULL = "token_limit_exceeded"
"""The code with which a batch is refused because too many tokens wait already."""

UNANSWERED: Mapping[str, str] = {
    "batch_expired": "the batch expired before it was answered",
    "batch_cancelled": "the batch was cancelled before it was answered",
    "request_timeout": "the provider's own server did not answer in time",
}
"""Codes in the error file of requests that a second try may answer."""


@dataclass
class OpenAIBatches:
    """A `BatchService` at OpenAI's address or one like it; owns its connections.

    Args:
        endpoint: the model and how it is reached.
    """

    endpoint: Endpoint
    limits: BatchLimits = LIMITS
    _client: AsyncOpenAI | None = field(default=None, init=False, repr=False)

    def group(self, call: WireCall[Any]) -> str:
        """The path: a batch is of one alone."""
        return call.path

    async def send(self, order: BatchOrder, group: str, lines: Sequence[BatchLine]) -> SentBatch:
        """Upload the requests and make a batch of them; as `BatchService.send`."""
        content = b"".join(map(_line, lines))
        with self._asking("/files") as client:
            name = f"cai-{order.token}.jsonl"
            file = await client.files.create(file=(name, content), purpose="batch")
        with submitting(), self._asking("/batches") as client:
            made = await client.batches.create(
                completion_window="24h",
                endpoint=cast("Any", f"/v1/{group}"),
                input_file_id=file.id,
                metadata={TOKEN: order.token, DIGEST: order.digest},
            )
        return SentBatch(made.id, file.id)

    async def find(self, order: BatchOrder, known: Collection[str]) -> Search:
        """Look through the account's batches for our token; as `BatchService.find`."""
        with self._asking("/batches") as client:
            async for batch in client.batches.list(limit=100):
                if batch.created_at < order.created - EARLIER:
                    break
                told = batch.metadata or {}
                if told.get(TOKEN) == order.token and told.get(DIGEST) == order.digest:
                    return Search(SentBatch(batch.id, batch.input_file_id))
        return Search()

    async def look(self, batch: str) -> BatchState:
        """Retrieve a batch; as `BatchService.look`."""
        with self._asking(f"/batches/{batch}") as client:
            return _state(await client.batches.retrieve(batch))

    async def results(self, batch: str) -> AsyncGenerator[BatchResult, None]:
        """Read the output file, then the error file; as `BatchService.results`."""
        with self._asking(f"/batches/{batch}") as client:
            found = await client.batches.retrieve(batch)
        for name in (found.output_file_id, found.error_file_id):
            if name:
                async with aclosing(self._file(name)) as results:
                    async for result in results:
                        yield result

    async def cancel(self, batch: str) -> BatchState:
        """Cancel a batch; as `BatchService.cancel`."""
        with self._asking(f"/batches/{batch}/cancel") as client:
            return _state(await client.batches.cancel(batch))

    async def tidy(self, sent: SentBatch) -> None:
        """Delete the uploaded requests; the answers stay there as long as the provider has them."""
        if sent.file:
            with self._asking(f"/files/{sent.file}") as client:
                await client.files.delete(sent.file)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _file(self, name: str) -> AsyncGenerator[BatchResult, None]:
        path = f"/files/{name}/content"
        with self._asking(path) as client:
            async with client.files.with_streaming_response.content(name) as reply:
                lines = read_json_lines(reply.iter_bytes(), f"{self.endpoint.url}{path}")
                async with aclosing(lines):
                    async for line in lines:
                        yield _result(line)

    @contextmanager
    def _asking(self, path: str) -> Generator[AsyncOpenAI, None, None]:
        """Turn what the SDK raises inside the block into the `ModelError` that it means."""
        with sdk_errors("openai", f"{self.endpoint.url}{path}", _status_error):
            yield self._connected()

    def _connected(self) -> AsyncOpenAI:
        if self._client is None:
            from openai import AsyncOpenAI, DefaultAioHttpClient

            self._client = AsyncOpenAI(
                # Without a key the SDK would look for others.
                api_key=self.endpoint.api_key() or "none",
                base_url=self.endpoint.url,
                max_retries=0,
                timeout=self.endpoint.timeout,
                http_client=DefaultAioHttpClient(follow_redirects=False),
            )
        return self._client


def _status_error(error: Any, url: str) -> ModelError:
    answer = error.response
    try:
        raise_for_status(answer.status_code, answer.headers, answer.content, url)
    except TransientError as told:
        if answer.status_code in NOT_MADE:
            return NothingMade(str(told), told.retry_after, told.cause)
        return told
    except ModelError as told:
        return PermanentError(f"{told}; if this server has no batches, set `batch: false`")
    return TransientError(f"{url} answered {answer.status_code}, which the SDK takes for an error")


def _line(line: BatchLine) -> bytes:
    named = {"custom_id": line.custom_id, "method": "POST", "url": f"/v1/{line.path}"}
    return orjson.dumps({**named, "body": orjson.Fragment(line.body)}) + b"\n"


def _state(batch: Batch) -> BatchState:
    counts = batch.request_counts
    done = counts.completed + counts.failed if counts else 0
    total = counts.total if counts else 0
    cancelled = batch.status in ("cancelling", "cancelled")
    if batch.status == "failed":
        errors = (batch.errors.data if batch.errors else None) or []
        full = any(error.code == QUEUE_FULL for error in errors)
        words = "; ".join(_error_words(error.line, error.message, error.code) for error in errors)
        phase = "full" if full else "failed"
        return BatchState(phase, "failed", done, total, fault=redacted(words))
    ended = batch.status in ("completed", "expired", "cancelled")
    return BatchState("ended" if ended else "working", batch.status, done, total, cancelled)


def _error_words(line: int | None, message: str | None, code: str | None) -> str:
    place = f"line {line}: " if line is not None else ""
    return f"{place}{message or 'no reason given'}" + (f" ({code})" if code else "")


def _result(line: Mapping[str, Any]) -> BatchResult:
    custom_id, response = str(line.get("custom_id")), line.get("response")
    if isinstance(response, dict):
        told = cast("dict[str, Any]", response)
        status = told.get("status_code")
        if isinstance(status, int) and status >= 100:
            content = orjson.dumps(told.get("body"))
            return BatchResult(custom_id, HttpReply(status, {}, content))
        return BatchResult(custom_id, None, f"the provider gave the status {status!r}")
    error: Any = line.get("error")
    named = cast("dict[str, Any]", error) if isinstance(error, dict) else {}
    code = str(named.get("code"))
    return BatchResult(custom_id, None, UNANSWERED.get(code) or f"{named.get('message')} ({code})")
