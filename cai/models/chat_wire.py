"""The wire format of OpenAI-compatible servers: what an answer means, and what a failure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn, cast

import orjson

from cai.errors import (
    ModelError,
    PermanentError,
    RejectedRequest,
    TransientCause,
    TransientError,
    UnsupportedSampling,
)
from cai.records import Completion, StopReason, Usage
from cai.redaction import redacted

TRANSIENT = frozenset({408, 409, 425, 429})
"""Statuses below 500 after which the same request may succeed."""

OVERLOAD = frozenset({408, 429, 503, 504, 529})
"""Statuses that ask for fewer requests."""

STOP_REASONS: Mapping[str, StopReason] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "refusal",
}
"""`finish_reason` as OpenAI and other servers spell it."""

OUT_OF_CREDIT = "insufficient_quota"
"""OpenAI's code for a 429 that no waiting ends."""

FILTERED = re.compile(r"content_filter|content_policy_violation")
"""Codes of a 400 with which Azure and OpenAI refuse a request for what it says."""

TOO_LONG = re.compile(
    r"context.?length|context.?window|maximum.{1,40}(?:context|length|tokens)"
    r"|too long|too many tokens",
    re.IGNORECASE,
)
"""Words of a 400 that refuse this one request for its length."""

SAMPLING = re.compile(r"\b(?:temperature|top_p)\b")
"""Fields that a 400 names where a model does not draw as it is asked to."""

EXCERPT = 500
"""Characters of a provider's answer that an error message shows."""

MANY_TOKENS = 2**53
"""No answer has so many."""

MISSHAPEN = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What reading an answer raises that is JSON, but has other types or lacks parts."""


class ContentFiltered(RejectedRequest):
    """The provider's filter refused the request, or took the reply."""


def encoded(body: Mapping[str, Any]) -> bytes:
    """The body as bytes.

    Raises:
        RejectedRequest: a text is not valid Unicode, or a number is out of JSON's range.
    """
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise RejectedRequest(f"the request cannot be written as JSON: {error}") from error


def read_object(content: bytes) -> dict[str, Any]:
    """The JSON object of a successful answer.

    Raises:
        TransientError: it is none.
    """
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise TransientError(f"the server's answer is not JSON: {excerpt(content)}") from error
    if not isinstance(answer, dict):
        raise TransientError(f"the server's answer is no JSON object: {excerpt(content)}")
    return cast("dict[str, Any]", answer)


def read_answer(content: bytes) -> dict[str, Any]:
    """The JSON object of a successful answer with choices.

    Raises:
        TransientError: it is no JSON object, or holds no choice.
    """
    answer = read_object(content)
    choices = answer.get("choices")
    if not (isinstance(choices, list) and choices and isinstance(choices[0], dict)):
        raise TransientError(f"the server's answer has no choices: {excerpt(content)}")
    return answer


def read_completion(answer: Mapping[str, Any], model: str) -> Completion:
    """The first choice of an answer.

    Args:
        answer: as of `read_answer`.
        model: the name to give if the server reports none.

    Raises:
        TransientError: the choice has neither message nor a known reason to have ended.
        One of `MISSHAPEN`: a part of the answer is of another type.
    """
    choice: Mapping[str, Any] = answer["choices"][0]
    message: Mapping[str, Any] = choice.get("message") or {}
    ended = read_stop_reason(choice)
    refusal: str | None = message.get("refusal")
    return Completion(
        text=checked_text(message.get("content") or refusal or ""),
        stop_reason="refusal" if refusal else ended,
        usage=read_usage(answer),
        model=str(answer.get("model") or model),
        reasoning=message.get("reasoning_content") or message.get("reasoning") or None,
        logprobs=_token_logprobs(choice),
    )


def read_stop_reason(choice: Mapping[str, Any]) -> StopReason:
    """Why a choice has ended.

    Raises:
        TransientError: it has not.
    """
    finish = str(choice.get("finish_reason"))
    if finish not in STOP_REASONS:
        raise TransientError(f"the server gave an unfinished reply (finish_reason {finish!r})")
    return STOP_REASONS[finish]


def checked_text(text: Any) -> str:
    """The text as it is.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(text, str):
        raise TypeError(redacted(f"the content is no text but {text!r}")[:EXCERPT])
    return text


def read_usage(answer: Mapping[str, Any]) -> Usage:
    """Tokens as the server counted them; 0 where it does not."""
    usage: Mapping[str, Any] = answer.get("usage") or {}
    read: Mapping[str, Any] = usage.get("prompt_tokens_details") or {}
    written: Mapping[str, Any] = usage.get("completion_tokens_details") or {}
    return Usage(
        token_count(usage.get("prompt_tokens")),
        token_count(usage.get("completion_tokens")),
        cached_tokens=token_count(read.get("cached_tokens")),
        cache_write_tokens=token_count(read.get("cache_write_tokens")),
        reasoning_tokens=token_count(written.get("reasoning_tokens")),
    )


def read_first_token(answer: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    """The likeliest first tokens with their natural log-probabilities; empty if none are given.

    A text can be there twice: several tokens read alike.
    """
    content = _logprobs(answer["choices"][0]) or ()
    listed: Sequence[Mapping[str, Any]] = (content[0].get("top_logprobs") or ()) if content else ()
    return tuple((str(entry["token"]), float(entry["logprob"])) for entry in listed)


def token_count(count: Any) -> int:
    """A number of tokens as a server told it; 0 if it did not.

    Raises:
        ValueError: it is no number of tokens.
    """
    if count is not None and not (isinstance(count, int) and 0 <= count < MANY_TOKENS):
        raise ValueError(f"{count!r} is no number of tokens")
    return count or 0


def _logprobs(choice: Mapping[str, Any]) -> Sequence[Mapping[str, Any]] | None:
    logprobs: Mapping[str, Any] = choice.get("logprobs") or {}
    return logprobs.get("content")


def _token_logprobs(choice: Mapping[str, Any]) -> tuple[float, ...] | None:
    content = _logprobs(choice)
    return None if content is None else tuple(float(entry["logprob"]) for entry in content)


def raise_for_status(status: int, headers: Mapping[str, str], content: bytes, url: str) -> None:
    """Turn a status that is no success into the error that it means.

    Raises:
        TransientError: 408, 409, 425, 429 and 5xx, with the wait that the server asks for.
        RejectedRequest: 400 or 413 for the request's length; `ContentFiltered` for what it says.
        UnsupportedSampling: 400 for a temperature or top_p.
        PermanentError: a redirect, a used-up quota and all else, with the provider's own message.
    """
    if 200 <= status < 300:
        return
    message = f"{url} answered {status}: {_message(content)}"
    if status == 429 and OUT_OF_CREDIT in message:
        raise PermanentError(message)
    if status >= 500 or status in TRANSIENT:
        cause: TransientCause = "overload" if status in OVERLOAD else "fault"
        raise TransientError(message, retry_after(headers), cause)
    if 300 <= status < 400:
        target = headers.get("Location", "elsewhere")
        raise PermanentError(
            f"{url} redirects to {target}, and requests are not sent on with their key; "
            "set `endpoint` to the right address"
        )
    _refuse(status, message)


def raise_if_filtered(answer: Mapping[str, Any]) -> None:
    """Say so if a filter has taken what the model wrote.

    Raises:
        ContentFiltered: it has.
    """
    finish = str(answer["choices"][0].get("finish_reason"))
    if STOP_REASONS.get(finish) == "refusal":
        raise ContentFiltered(f"the provider's filter took the reply (finish_reason {finish!r})")


def _refuse(status: int, message: str) -> NoReturn:
    error: type[ModelError] = PermanentError
    if status == 400 and FILTERED.search(message):
        error = ContentFiltered
    elif status == 413 or (status == 400 and TOO_LONG.search(message)):
        error = RejectedRequest
    elif status == 400 and SAMPLING.search(message):
        error = UnsupportedSampling
    raise error(message)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as the server asks, given in seconds or as a date; None if it does not."""
    if milliseconds := headers.get("Retry-After-Ms"):
        return _seconds(milliseconds, 0.001)
    value = headers.get("Retry-After", "")
    seconds = _seconds(value, 1)
    if seconds is not None or not value:
        return seconds
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    # A date whose zone is written "-0000" is read as one without zone; it is UTC all the same.
    date = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _seconds(text: str, unit: float) -> float | None:
    return float(text) * unit if re.fullmatch(r"\d+(\.\d+)?", text.strip()) else None


def _message(content: bytes) -> str:
    """The provider's own words, where the body is an error object of one of the usual shapes."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return excerpt(content)
    error: Any = cast("dict[str, Any]", body).get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        words = cast("dict[str, Any]", error)
        code = f" ({words['code']})" if words.get("code") else ""
        told = f"{words.get('message') or words.get('detail') or excerpt(content)}{code}"
        return redacted(told)[:EXCERPT]
    return redacted(str(error))[:EXCERPT]


def excerpt(content: bytes) -> str:
    """The beginning of a body, for messages."""
    # Half a key that the end has cut off would not be known as one: keys go first.
    return redacted(content.decode("utf-8", "replace"))[:EXCERPT] or "(empty)"
