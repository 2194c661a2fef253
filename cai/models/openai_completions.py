"""The interface for plain text, which base models have: /v1/completions.

Messages become one text in `cai.models.turn_text`, and nowhere else. A reply ends before the next
turn, and loses the space that stands between "Assistant:" and its first word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from cai.models.capabilities import Prefill
from cai.models.chat_wire import (
    checked_text,
    read_answer,
    read_first_token,
    read_stop_reason,
    read_usage,
)
from cai.models.control_text import broken
from cai.models.openai_endpoint import Endpoint
from cai.models.openai_requests import sampling_fields
from cai.models.turn_text import reply_text, turn_text, with_stop
from cai.records import Completion, Message, Sampling

SEAM = 24
"""Characters of a prompt's end by which it is found again among the tokens that a server echoes:
the beginning may read otherwise there, by a control token or a letter of several tokens."""


class CompletionsInterface:
    """An `Interface` to plain completions.

    Args:
        endpoint: the model and how it is asked.
    """

    path = "/completions"

    def __init__(self, endpoint: Endpoint) -> None:
        """Note what is the same in every request."""
        self._endpoint = endpoint
        self._breaks = endpoint.control_tokens == "break"
        self._always = {"model": endpoint.model, **endpoint.capabilities.extra}
        if endpoint.token_logprobs:
            self._always["logprobs"] = 0

    def request(
        self, messages: Sequence[Message], sampling: Sampling, prefill: Prefill
    ) -> dict[str, Any]:
        """The body of a request; as `Interface.request`. Every server goes on with plain text."""
        stopped = replace(sampling, stop=with_stop(sampling.stop, messages))
        return {
            **self._always,
            "prompt": self.prompt(messages),
            "max_tokens": sampling.max_tokens,
            **sampling_fields(self._endpoint, stopped),
        }

    def prompt(self, messages: Sequence[Message]) -> str:
        """The conversation as text."""
        return turn_text(broken(messages) if self._breaks else messages)

    def with_logprobs(self, body: Mapping[str, Any], count: int) -> dict[str, Any]:
        """As `Interface.with_logprobs`."""
        return {**body, "logprobs": count}

    def echoing(self, body: Mapping[str, Any], option: str) -> dict[str, Any]:
        """The same body, asking for the log-probabilities of an option after its prompt.

        A token is drawn as well, and not read: not every server takes a limit of 0.
        """
        text = body["prompt"] + option
        return {**body, "prompt": text, "max_tokens": 1, "echo": True, "logprobs": 1}

    def read(self, content: bytes) -> Mapping[str, Any]:
        """As `Interface.read`."""
        return read_answer(content)

    def completion(
        self, answer: Mapping[str, Any], messages: Sequence[Message], sampling: Sampling
    ) -> Completion:
        """As `Interface.completion`."""
        choice: Mapping[str, Any] = answer["choices"][0]
        return Completion(
            text=reply_text(checked_text(choice.get("text") or ""), messages),
            stop_reason=read_stop_reason(choice),
            usage=read_usage(answer),
            model=str(answer.get("model") or self._endpoint.model),
            logprobs=_token_logprobs(choice),
        )

    def first_token(self, answer: Mapping[str, Any]) -> Sequence[tuple[str, float]]:
        """As `Interface.first_token`."""
        logprobs: Mapping[str, Any] = answer["choices"][0].get("logprobs") or {}
        if "content" in logprobs:  # llama.cpp gives them as chat completions do
            return read_first_token(answer)
        positions: Sequence[Mapping[str, float] | None] = logprobs.get("top_logprobs") or ()
        first = positions[0] if positions else None
        return tuple((str(token), float(logprob)) for token, logprob in (first or {}).items())

    def option_tokens(
        self, answer: Mapping[str, Any], prompt: str, option: str
    ) -> tuple[tuple[str, float], ...] | None:
        """The tokens of an option, each with its natural log of p(token | all before).

        Args:
            answer: to `echoing`.
            prompt: the text without the option.
            option: what comes after it.

        Returns:
            None if no token begins where the option does: then it has no probability of its own.
        """
        logprobs: Mapping[str, Any] = answer["choices"][0].get("logprobs") or {}
        tokens: Sequence[str] = logprobs.get("tokens") or ()
        text = "".join(tokens)
        seam = prompt[-SEAM:]
        found = text.rfind(seam + option)
        begins = [0, *accumulate(map(len, tokens))]
        first, last = found + len(seam), found + len(seam) + len(option)
        if found < 0 or first not in begins or last not in begins:
            return None
        span = slice(begins.index(first), begins.index(last))
        values: Sequence[float] = logprobs["token_logprobs"][span]
        return tuple(zip(tokens[span], map(float, values), strict=True))


def _token_logprobs(choice: Mapping[str, Any]) -> tuple[float, ...] | None:
    logprobs: Mapping[str, Any] = choice.get("logprobs") or {}
    content: Sequence[Mapping[str, Any]] | None = logprobs.get("content")
    if content is not None:
        return tuple(float(entry["logprob"]) for entry in content)
    values: Sequence[float] | None = logprobs.get("token_logprobs")
    return None if values is None else tuple(map(float, values))
