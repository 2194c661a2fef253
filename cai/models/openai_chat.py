"""The interface for conversations: /v1/chat/completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cai.models.capabilities import Prefill
from cai.models.chat_wire import read_answer, read_completion, read_first_token
from cai.models.control_text import broken
from cai.models.openai_endpoint import Endpoint
from cai.models.openai_requests import refuse_prefill, sampling_fields
from cai.models.turn_text import refuse_text
from cai.records import Completion, Message, Sampling


class ChatInterface:
    """An `Interface` to chat completions.

    Args:
        endpoint: the model and how it is asked.
    """

    path = "/chat/completions"

    def __init__(self, endpoint: Endpoint) -> None:
        """Note what is the same in every request."""
        self._endpoint = endpoint
        self._limit = endpoint.capabilities.limit
        self._breaks = endpoint.control_tokens == "break"
        self._always = dict(endpoint.capabilities.extra)
        if endpoint.effort is not None:
            self._always["reasoning_effort"] = endpoint.effort
        if endpoint.token_logprobs:
            self._always["logprobs"] = True

    def request(
        self, messages: Sequence[Message], sampling: Sampling, prefill: Prefill
    ) -> dict[str, Any]:
        """The body of a request; as `Interface.request`."""
        refuse_text(messages, f"{self._endpoint.provider}:{self._endpoint.model}")
        shown = broken(messages) if self._breaks else messages
        body = sampling_fields(self._endpoint, sampling)
        body["model"] = self._endpoint.model
        body["messages"] = [{"role": one.role, "content": one.content} for one in shown]
        body[self._limit] = sampling.max_tokens
        body |= self._always
        if messages[-1].role == "assistant":
            if prefill is False:
                raise refuse_prefill(self._endpoint)
            body |= prefill
        return body

    def with_logprobs(self, body: Mapping[str, Any], count: int) -> dict[str, Any]:
        """As `Interface.with_logprobs`."""
        return {**body, "logprobs": True, "top_logprobs": count}

    def read(self, content: bytes) -> Mapping[str, Any]:
        """As `Interface.read`."""
        return read_answer(content)

    def completion(
        self, answer: Mapping[str, Any], messages: Sequence[Message], sampling: Sampling
    ) -> Completion:
        """As `Interface.completion`."""
        return read_completion(answer, self._endpoint.model)

    def first_token(self, answer: Mapping[str, Any]) -> Sequence[tuple[str, float]]:
        """As `Interface.first_token`."""
        return read_first_token(answer)
