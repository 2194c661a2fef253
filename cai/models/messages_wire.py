"""The wire format of Anthropic's Messages API: what is sent, and what an answer means.

An error's body reads ``{"type": "error", "error": {"type": …, "message": …}, "request_id": …}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import orjson

from cai.errors import ModelError, PermanentError, RejectedRequest, TransientError
from cai.models.chat_wire import (
    EXCERPT,
    MANY_TOKENS,
    OVERLOAD,
    TRANSIENT,
    ContentFiltered,
    retry_after,
)
from cai.records import Completion, Message, MessageRole, StopReason, Usage
from cai.redaction import redacted

if TYPE_CHECKING:
    from anthropic.types import MessageParam, TextBlockParam

STOP_REASONS: Mapping[str, StopReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}
"""`stop_reason`s of a reply that has ended; "tool_use" and "pause_turn" are none of them."""

THIS_ONE = re.compile(
    r"prompt is too long|exceed context limit|too many total text bytes|exceeds the maximum size"
    r"|first message must use",
    re.IGNORECASE,
)
"""Words of a 400 that refuse one request for its length or its turns. A `max_tokens` over the
model's own limit is no such thing, for every request has it."""

FILTERED = "Output blocked by content filtering policy"
"""Words of a 400 that takes the place of a reply."""

LASTING_CODES = frozenset({"contract_spend_limit_reached", "enforced_spend_limit_reached"})
"""Codes of a 429 that no waiting of minutes ends."""


class Turns(NamedTuple):
    """A conversation in two parts, as the API takes it."""

    system: list[TextBlockParam]
    messages: list[MessageParam]


def turns(messages: Sequence[Message], shared: int) -> Turns:
    """System texts apart, then turns that alternate: neighbours of one role are one turn.

    Args:
        messages: the conversation.
        shared: number of leading messages that other requests have too; the last of them gets the
            mark up to which the provider caches. 0: no mark.

    Raises:
        RejectedRequest: the API takes no conversation like this, whoever asks.
    """
    system: list[TextBlockParam] = []
    grouped: list[tuple[MessageRole, list[TextBlockParam]]] = []
    for number, message in enumerate(messages, start=1):
        _check(number, message)
        block: TextBlockParam = {"type": "text", "text": message.content}
        if number == shared:
            block["cache_control"] = {"type": "ephemeral"}
        if message.role == "system":
            if grouped:
                raise RejectedRequest(f"message {number} is a system turn after the first turn")
            system.append(block)
        elif grouped and grouped[-1][0] == message.role:
            grouped[-1][1].append(block)
        else:
            grouped.append((message.role, [block]))
    if not grouped:
        raise RejectedRequest("the conversation has no turn beside the system's")
    if messages[-1].role == "assistant" and messages[-1].content[-1].isspace():
        raise RejectedRequest("the turn to go on with ends with a space or line break")
    return Turns(system, [_turn(role, blocks) for role, blocks in grouped])


def _turn(role: MessageRole, blocks: list[TextBlockParam]) -> MessageParam:
    if role == "user":
        return {"role": "user", "content": blocks}
    return {"role": "assistant", "content": blocks}


def _check(number: int, message: Message) -> None:
    if not message.content.strip():
        raise RejectedRequest(f"message {number} is blank, which the API refuses")
    try:
        message.content.encode()
    except UnicodeEncodeError as error:
        raise RejectedRequest(f"message {number} cannot be written as JSON: {error}") from error


def read_message(content: bytes, model: str) -> Completion:
    """The reply in the body of an answer; thinking apart from the text.

    Args:
        content: the body.
        model: the name to give if the answer reports none.

    Raises:
        TransientError: it is no JSON object, or the reply has not ended.
        One of `MISSHAPEN`: a part of the answer is missing or of another type.
    """
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise TransientError(f"the server's answer is not JSON: {_excerpt(content)}") from error
    if not isinstance(answer, dict):
        raise TransientError(f"the server's answer is no object: {_excerpt(content)}")
    return message_completion(cast("dict[str, Any]", answer), model)


def message_completion(answer: Mapping[str, Any], model: str) -> Completion:
    """The reply in a message object, of an answer or of a batch's result; as `read_message`."""
    reason = str(answer["stop_reason"])
    if reason not in STOP_REASONS:
        raise TransientError(f"the server gave an unfinished reply (stop_reason {reason!r})")
    return Completion(
        text="".join(_parts(answer, "text", "text")),
        stop_reason=STOP_REASONS[reason],
        usage=read_usage(answer),
        model=str(answer.get("model") or model),
        reasoning="\n\n".join(filter(None, _parts(answer, "thinking", "thinking"))) or None,
    )


def read_usage(answer: Mapping[str, Any]) -> Usage:
    """Tokens as the server counted them; those written to and read from its cache are input too.

    The API counts as `input_tokens` only what stands after the last cache mark.
    """
    usage: Mapping[str, Any] = answer["usage"]
    written = _count(usage, "cache_creation_input_tokens")
    cached = _count(usage, "cache_read_input_tokens")
    return Usage(
        _count(usage, "input_tokens") + written + cached,
        _count(usage, "output_tokens"),
        cached_tokens=cached,
        cache_write_tokens=written,
    )


def _parts(answer: Mapping[str, Any], kind: str, field: str) -> list[str]:
    parts = [block[field] for block in answer["content"] if block["type"] == kind]
    if not all(isinstance(part, str) for part in parts):
        raise TypeError(f"a {kind} block holds no text")
    return parts


def _count(usage: Mapping[str, Any], name: str) -> int:
    count: Any = usage.get(name)
    if count is not None and not (isinstance(count, int) and 0 <= count < MANY_TOKENS):
        raise ValueError(f"{name} is {count!r}, no number of tokens")
    return count or 0


def status_error(status: int, headers: Mapping[str, str], content: bytes, url: str) -> ModelError:
    """The error that a status other than success means.

    Returns:
        TransientError: 408, 409, 425, 429 and 5xx, with the wait that the server asks for.
        RejectedRequest: this request's length or texts are refused; `ContentFiltered`: the reply.
        PermanentError: a redirect, a spend limit, and all else, with the provider's own words.
    """
    if 300 <= status < 400:
        return PermanentError(
            f"{url} redirects to {headers.get('location', 'elsewhere')}, and requests are not "
            "sent on with their key; set `endpoint` to the right address"
        )
    words, code = _words(content)
    message = f"{url} answered {status}: {words}"
    if (status >= 500 or status in TRANSIENT) and code not in LASTING_CODES:
        cause = "overload" if status in OVERLOAD else "fault"
        return TransientError(message, retry_after(headers), cause)
    if status == 400 and FILTERED.lower() in words.lower():
        return ContentFiltered(message)
    if status == 413 or (status == 400 and THIS_ONE.search(words)):
        return RejectedRequest(message)
    if status == 400 and "prefill" in words:
        message += "; end the template with a user's turn, and set `prefill: false`"
    return PermanentError(message)


def _words(content: bytes) -> tuple[str, str]:
    """The provider's own words with the error's type and the request's id; and the error's code."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return _excerpt(content), ""
    error: Any = cast("dict[str, Any]", body).get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return _excerpt(content), ""
    named = cast("dict[str, Any]", error)
    request: Any = cast("dict[str, Any]", body).get("request_id")
    known = ", ".join(str(part) for part in (named.get("type"), request) if part)
    details: Any = named.get("details")
    code = cast("dict[str, Any]", details).get("error_code") if isinstance(details, dict) else ""
    words = redacted(str(named.get("message") or _excerpt(content)))[:EXCERPT]
    return f"{words} ({known})" if known else words, str(code)


def _excerpt(content: bytes) -> str:
    # Half a key that the end has cut off would not be known as one: keys go first.
    return redacted(content.decode("utf-8", "replace"))[:EXCERPT] or "(empty)"
