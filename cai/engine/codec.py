"""Requests and answers as JSON: what is asked makes the key, what is answered comes back exactly.

orjson writes a float in the fewest digits that read back as the same float.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import orjson

from cai.errors import PermanentError, RejectedRequest, RunError
from cai.records import Completion, Message, Sampling, Usage, Weighed
from cai.redaction import redacted

KEY_VERSION = 1
"""Goes into every key: a ledger's answers are found again only by what asks in the same way."""

_HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")


class Request(NamedTuple):
    """A call that may be made: its key, and the JSON that the key is the hash of."""

    key: str
    kind: str
    text: str


def completion_request(
    model: str, options: Mapping[str, Any], messages: Sequence[Message], sampling: Sampling
) -> Request:
    """The request of a reply.

    Args:
        model: identity of the model.
        options: what the provider is told beside, never keys or headers.
        messages: as sent.
        sampling: as sent.

    Raises:
        RejectedRequest: a text in it cannot be written as UTF-8.
    """
    return _request("complete", model, options, messages, {"sampling": sampling})


def weighing_request(
    model: str, provider: Mapping[str, Any], messages: Sequence[Message], options: Sequence[str]
) -> Request:
    """The request of weighing options; else as `completion_request`."""
    return _request("weigh", model, provider, messages, {"options": list(options)})


def settled(sampling: Sampling) -> Sampling:
    """Sampling with what cannot matter set to one value, so that it makes no second key.

    A greedy reply is the same whatever the seed. And 1 and 1.0 are one temperature, but not one
    text in JSON.
    """
    numbers = (sampling.temperature, sampling.top_p)
    if sampling.temperature != 0 and all(type(number) is float for number in numbers):
        return sampling
    return replace(
        sampling,
        temperature=float(sampling.temperature) or 0.0,  # -0.0 is a 0 too
        top_p=float(sampling.top_p),
        seed=0 if sampling.temperature == 0 else sampling.seed,
    )


def to_json(answer: Completion | Weighed) -> str:
    """An answer as JSON, without the key of its call and without any API key.

    Raises:
        PermanentError: a log-probability is no finite number.
        RejectedRequest: the text cannot be written as UTF-8, so no file could hold it.
    """
    for number in answer.logprobs or ():
        if not math.isfinite(number):
            raise PermanentError(
                f"{answer.model} gave a log-probability of {number}; its weights may be broken, or "
                "the number type too small (try bfloat16 or float32)"
            )
    fields: dict[str, Any] = {
        "logprobs": answer.logprobs,
        "usage": answer.usage,
        "model": answer.model,
    }
    if isinstance(answer, Completion):
        fields |= {"text": answer.text, "stop_reason": answer.stop_reason}
        fields |= {"reasoning": answer.reasoning}
    else:
        fields |= {"mass": answer.mass, "method": answer.method}
        fields |= {"standard_error": answer.standard_error, "samples": answer.samples}
        if answer.others or answer.refused:
            fields |= {"others": answer.others, "refused": answer.refused}
    try:
        return redacted(orjson.dumps(fields).decode())
    except orjson.JSONEncodeError as error:
        raise _unwritable("the reply", getattr(answer, "text", ""), error) from error


def completion_from_json(text: str, *, call: str = "", cached: bool = False) -> Completion:
    """Read back what `to_json` wrote of a completion.

    Raises:
        RunError: the text is not what `to_json` wrote: the ledger is damaged.
    """
    fields = _answer(text, call)
    return Completion(**fields, call=call, cached=cached)


def with_call(answer: Completion, call: str, *, cached: bool) -> Completion:
    """A completion as `completion_from_json` reads it back, from the one that was written.

    Written out, since `dataclasses.replace` takes three times as long, and this is once a call.
    """
    return Completion(
        answer.text,
        answer.stop_reason,
        answer.usage,
        answer.model,
        answer.reasoning,
        answer.logprobs,
        call,
        cached,
    )


def weighed_from_json(text: str, *, call: str = "", cached: bool = False) -> Weighed:
    """Read back what `to_json` wrote of a weighing; else as `completion_from_json`."""
    fields = _answer(text, call)
    return Weighed(**fields, call=call, cached=cached)


def _request(
    kind: str,
    model: str,
    provider: Mapping[str, Any],
    messages: Sequence[Message],
    asked: Mapping[str, Any],
) -> Request:
    fields = {
        "version": KEY_VERSION,
        "kind": kind,
        "model": model,
        "provider": dict(provider),
        "messages": list(messages),
        **asked,
    }
    try:
        encoded = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        for number, message in enumerate(messages, start=1):
            if _HALF_A_CHARACTER.search(message.content):
                raise _unwritable(f"message {number}", message.content, error) from error
        raise
    return Request(hashlib.sha256(encoded).hexdigest()[:32], kind, encoded.decode())


def _unwritable(what: str, text: str, error: Exception) -> RejectedRequest:
    found = _HALF_A_CHARACTER.search(text)
    if found is None:
        return RejectedRequest(f"{what} cannot be written as JSON: {error}")
    return RejectedRequest(
        f"{what} has half a character ({found.group()!r} at {found.start()}), which no file can "
        "hold; give the whole character, or leave it out"
    )


def _answer(text: str, call: str) -> dict[str, Any]:
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise RunError(
            f"the ledger is damaged: the answer of call {call} is not JSON ({error}); restore the "
            "file from a copy, or name another run folder"
        ) from error
    if fields["logprobs"] is not None:
        fields["logprobs"] = tuple(fields["logprobs"])
    if "others" in fields:
        fields["others"] = tuple(fields["others"])
    fields["usage"] = Usage(**fields["usage"])
    return fields
