"""The interface that some reasoning models alone have: /v1/responses.

It gives no log-probabilities for them, takes no seed and no stop strings, and goes on with no
assistant turn. Nothing is left at the provider (`store: false`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cai.errors import PermanentError, TransientError
from cai.models.capabilities import Prefill
from cai.models.chat_wire import ContentFiltered, checked_text, read_object, token_count
from cai.models.control_text import broken
from cai.models.openai_endpoint import Endpoint
from cai.models.openai_requests import refuse_prefill, sampling_fields
from cai.models.turn_text import refuse_text
from cai.records import Completion, Message, Sampling, StopReason, Usage

CUT_SHORT: Mapping[str, StopReason] = {
    "max_output_tokens": "length",
    "content_filter": "refusal",
}
"""Why an answer is incomplete."""

PASSING = frozenset({"server_error", "rate_limit_exceeded", "vector_store_timeout"})
"""Errors of a failed answer after which the same request may succeed."""


class ResponsesInterface:
    """An `Interface` to responses.

    Args:
        endpoint: the model and how it is asked.
    """

    path = "/responses"

    def __init__(self, endpoint: Endpoint) -> None:
        """Note what is the same in every request."""
        self._endpoint = endpoint
        self._breaks = endpoint.control_tokens == "break"
        self._always: dict[str, Any] = {
            "model": endpoint.model,
            "store": False,
            "stream": False,
            **endpoint.capabilities.extra,
        }
        if endpoint.effort is not None:
            self._always["reasoning"] = {"effort": endpoint.effort}

    def request(
        self, messages: Sequence[Message], sampling: Sampling, prefill: Prefill
    ) -> dict[str, Any]:
        """The body of a request; as `Interface.request`."""
        refuse_text(messages, f"{self._endpoint.provider}:{self._endpoint.model}")
        if messages[-1].role == "assistant":
            raise refuse_prefill(self._endpoint)
        fields = sampling_fields(self._endpoint, sampling)
        shown = broken(messages) if self._breaks else messages
        return {
            **self._always,
            "input": [{"role": message.role, "content": message.content} for message in shown],
            "max_output_tokens": sampling.max_tokens,
            **{name: fields[name] for name in ("temperature", "top_p") if name in fields},
        }

    def with_logprobs(self, body: Mapping[str, Any], count: int) -> dict[str, Any]:
        """There are none: labels are sampled.

        Raises:
            PermanentError: always.
        """
        raise PermanentError(
            f"{self._endpoint.provider}:{self._endpoint.model}: responses have no log-probabilities"
        )

    def read(self, content: bytes) -> Mapping[str, Any]:
        """As `Interface.read`; the answer of a background task that goes on is not whole."""
        answer = read_object(content)
        status = answer.get("status")
        if status == "failed":
            raise _failure(answer.get("error") or {}, self._endpoint)
        if status not in ("completed", "incomplete"):
            raise TransientError(f"the server gave an unfinished answer (status {status!r})")
        return answer

    def completion(
        self, answer: Mapping[str, Any], messages: Sequence[Message], sampling: Sampling
    ) -> Completion:
        """As `Interface.completion`. The reply is cut at a stop string here, not by the server."""
        replies = list(_parts(answer, "output_text", "text"))
        refusals = list(_parts(answer, "refusal", "refusal"))
        text, stopped = _cut("".join(replies or refusals), sampling.stop)
        ended = "stop" if stopped else _stop_reason(answer)
        return Completion(
            text=text,
            stop_reason="refusal" if refusals else ended,
            usage=_usage(answer),
            model=str(answer.get("model") or self._endpoint.model),
            reasoning="\n\n".join(_reasoning(answer)) or None,
        )

    def first_token(self, answer: Mapping[str, Any]) -> Sequence[tuple[str, float]]:
        """None are given."""
        return ()


def _failure(error: Mapping[str, Any], endpoint: Endpoint) -> Exception:
    code, words = error.get("code"), error.get("message") or "no reason is given"
    message = f"{endpoint.url}/responses failed: {words} ({code})"
    if code in PASSING:
        cause = "overload" if code == "rate_limit_exceeded" else "fault"
        return TransientError(message, cause=cause)
    if code in ("invalid_prompt", "content_filter"):
        return ContentFiltered(message)
    return PermanentError(message)


def _messages(answer: Mapping[str, Any], *, commentary: bool) -> Iterator[Mapping[str, Any]]:
    """The answer's messages: its last words, or what it said on the way to them."""
    for item in answer["output"]:
        if item["type"] == "message" and (item.get("phase") == "commentary") == commentary:
            yield item


def _parts(answer: Mapping[str, Any], kind: str, name: str) -> Iterator[str]:
    for message in _messages(answer, commentary=False):
        for part in message["content"]:
            if part["type"] == kind:
                yield checked_text(part[name])


def _reasoning(answer: Mapping[str, Any]) -> Iterator[str]:
    """What the model thought, as far as it is shown: a summary, the thoughts, and commentary."""
    for item in answer["output"]:
        if item["type"] == "reasoning":
            for part in (*(item.get("summary") or ()), *(item.get("content") or ())):
                yield checked_text(part["text"])
    for message in _messages(answer, commentary=True):
        for part in message["content"]:
            yield checked_text(part.get("text") or "")


def _stop_reason(answer: Mapping[str, Any]) -> StopReason:
    if answer["status"] == "completed":
        return "stop"
    details: Mapping[str, Any] = answer.get("incomplete_details") or {}
    reason = str(details.get("reason"))
    if reason not in CUT_SHORT:
        raise TransientError(f"the server gave an incomplete answer (reason {reason!r})")
    return CUT_SHORT[reason]


def _cut(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    places = [place for string in stop if (place := text.find(string)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def _usage(answer: Mapping[str, Any]) -> Usage:
    usage: Mapping[str, Any] = answer.get("usage") or {}
    read: Mapping[str, Any] = usage.get("input_tokens_details") or {}
    written: Mapping[str, Any] = usage.get("output_tokens_details") or {}
    return Usage(
        token_count(usage.get("input_tokens")),
        token_count(usage.get("output_tokens")),
        cached_tokens=token_count(read.get("cached_tokens")),
        cache_write_tokens=token_count(read.get("cache_write_tokens")),
        reasoning_tokens=token_count(written.get("reasoning_tokens")),
    )
