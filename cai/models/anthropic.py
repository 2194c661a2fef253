"""Anthropic's models, over the official SDK.

The API gives no log-probabilities and takes no seed. Labels are estimated from sampled replies.
Equal requests draw fresh replies: the seed stays in the ledger's key, so each sample is a call of
its own, bought once, but a run with an empty ledger gets other texts.

The SDK comes with a client on aiohttp; its default one slows down with the number of connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, cast

from cai.errors import PermanentError, TransientError
from cai.models.chat_wire import MISSHAPEN, ContentFiltered
from cai.models.claude_families import ThinkingField, may_think, sampling_fields
from cai.models.label_samples import LabelSampling, weigh_by_samples
from cai.models.limits import LimitsHeard, read_limits
from cai.models.messages_endpoint import LABEL_SAMPLES, MessagesEndpoint
from cai.models.messages_wire import read_message, status_error, turns
from cai.models.openai_compatible import (
    CONNECT_SECONDS,
    CONNECTIONS,
    REASONING_TOKENS,
    SAMPLE_TOKENS,
)
from cai.models.sdk_errors import connection_error
from cai.models.shared_prefixes import SharedPrefixes
from cai.models.turn_text import refuse_text
from cai.models.wire import HttpReply, WireCall
from cai.records import Completion, Message, Sampling, Usage, Weighed

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from anthropic.types import ThinkingConfigParam
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

    from cai.models.batches import BatchService

SAMPLING_VERSION = "2023-06-01"
"""The last version of the API that takes temperature and top_p; the SDK asks for a later one."""

SAMPLING_FIELDS = frozenset({"temperature", "top_p"})
"""What only that version takes."""

MESSAGES = "v1/messages"


@dataclass
class AnthropicModel:
    """A `LanguageModel` behind the Messages API; owns its connections.

    Retries are the engine's: here every failure is an error of its kind. Connections belong to
    one event loop; close the model before that ends.

    Args:
        endpoint: the model and how to ask it.
        name: identity to use in place of provider, model and address.
    """

    endpoint: MessagesEndpoint
    name: str | None = None
    _client: AsyncAnthropic | None = field(default=None, init=False, repr=False)
    _heard: LimitsHeard | None = field(default=None, init=False, repr=False)
    _prefixes: SharedPrefixes = field(default_factory=SharedPrefixes, init=False, repr=False)

    @property
    def identity(self) -> str:
        """``anthropic:model@url`` or the given name, and the options that change answers."""
        endpoint = self.endpoint
        return (self.name or f"anthropic:{endpoint.model}@{endpoint.url}") + endpoint.options()

    @property
    def label_sampling(self) -> LabelSampling:
        """How labels are sampled: from short replies, if the model does not think before."""
        endpoint = self.endpoint
        thinks = may_think(endpoint.model, endpoint.thinking_sent)
        longest = REASONING_TOKENS if thinks else SAMPLE_TOKENS
        return LabelSampling(endpoint.label_samples or LABEL_SAMPLES, longest)

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Sample one reply; as `LanguageModel.complete`. The seed is not sent."""
        call = self.completing(messages, sampling)
        return call.read(await self._post(call.body))

    def completing(self, messages: Sequence[Message], sampling: Sampling) -> WireCall[Completion]:
        """The call of `complete`, as it goes over the wire."""
        endpoint = self.endpoint
        extra = sampling_fields(endpoint.model, sampling, endpoint.thinking_sent)
        return WireCall(MESSAGES, {**self._body(messages, sampling), **extra}, self._read)

    async def weigh(self, messages: Sequence[Message], options: Sequence[str]) -> Weighed:
        """Estimate the options from sampled replies; as `LanguageModel.weigh`."""
        return await weigh_by_samples(self.complete, messages, options, self.label_sampling)

    def weighing(self, messages: Sequence[Message], options: Sequence[str]) -> NoReturn:
        """Never asked: labels are sampled.

        Raises:
            PermanentError: always.
        """
        raise PermanentError(f"anthropic:{self.endpoint.model} gives no log-probabilities")

    def batches(self) -> BatchService:
        """The Message Batches API at the same address."""
        from cai.models.anthropic_batches import AnthropicBatches

        return AnthropicBatches(self.endpoint)

    def tell_limits(self, heard: LimitsHeard) -> None:
        """Tell of the limits in the headers of every answer that has some."""
        self._heard = heard

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _body(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> MessageCreateParamsNonStreaming:
        endpoint = self.endpoint
        refuse_text(messages, f"anthropic:{endpoint.model}")
        if messages[-1].role == "assistant" and not endpoint.continues:
            raise PermanentError(
                f"anthropic:{endpoint.model}: the messages end with an assistant turn to go on "
                "with, which this model does not take; end the template with a user's turn, or, "
                "if the server does go on with it, set `prefill: true`"
            )
        system, rest = turns(messages, self._prefixes.shared(messages))
        body: MessageCreateParamsNonStreaming = {
            "model": endpoint.model,
            "max_tokens": sampling.max_tokens,
            "messages": rest,
        }
        if system:
            body["system"] = system
        if sampling.stop:
            body["stop_sequences"] = list(sampling.stop)
        if endpoint.thinking_sent is not None:
            body["thinking"] = _thinking(endpoint.thinking_sent)
        if endpoint.effort is not None:
            body["output_config"] = {"effort": endpoint.effort}
        return body

    def _read(self, reply: HttpReply) -> Completion:
        url = f"{self.endpoint.url}/{MESSAGES}"
        try:
            if not 200 <= reply.status < 300:
                raise status_error(reply.status, reply.headers, reply.content, url)
            return read_message(reply.content, self.endpoint.model)
        except ContentFiltered:
            return Completion("", "refusal", Usage(), self.endpoint.model)
        except MISSHAPEN as error:
            raise TransientError(
                f"{self.endpoint.url} gave an answer of another shape than a message "
                f"({type(error).__name__}: {error})"
            ) from error

    async def _post(self, body: Mapping[str, Any]) -> HttpReply:
        from anthropic import APIConnectionError, APIStatusError, APITimeoutError

        client = self._connected()
        extra = {name: value for name, value in body.items() if name in SAMPLING_FIELDS}
        rest = {name: value for name, value in body.items() if name not in SAMPLING_FIELDS}
        url = f"{self.endpoint.url}/{MESSAGES}"
        try:
            async with asyncio.timeout(self.endpoint.timeout):
                reply = await client.messages.with_raw_response.create(
                    **cast("MessageCreateParamsNonStreaming", rest),
                    extra_body=extra or None,
                    extra_headers=headers_for(client.api_key, takes_sampling=bool(extra)),
                )
                content = await reply.read()
        except APIStatusError as error:
            answer = error.response
            self._tell(answer.headers)
            return HttpReply(answer.status_code, answer.headers, answer.content)
        except TimeoutError as error:
            message = f"{url} did not answer within {self.endpoint.timeout:g} seconds"
            raise TransientError(message, cause="overload") from error
        except APIConnectionError as error:
            timed_out = isinstance(error, APITimeoutError)
            raise connection_error(error, url, timed_out=timed_out) from error
        self._tell(reply.headers)
        return HttpReply(reply.status_code, reply.headers, content)

    def _tell(self, headers: Mapping[str, str]) -> None:
        if self._heard is not None and (limits := read_limits(headers)):
            self._heard(limits)

    def _connected(self) -> AsyncAnthropic:
        if self._client is None:
            self._client = connected(self.endpoint)
        return self._client


def connected(endpoint: MessagesEndpoint) -> AsyncAnthropic:
    """The SDK's client of an address; nothing is tried twice, and no redirect is followed.

    Raises:
        PermanentError: the key is not set.
    """
    from anthropic import AsyncAnthropic, DefaultAioHttpClient, Timeout
    from httpx2 import Limits

    limits = Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    return AsyncAnthropic(
        # An empty key is a key to the SDK: without one it would look for others.
        api_key=endpoint.api_key() or "",
        base_url=endpoint.url,
        max_retries=0,
        timeout=Timeout(endpoint.timeout, connect=CONNECT_SECONDS),
        http_client=DefaultAioHttpClient(limits=limits, follow_redirects=False),
    )


def headers_for(key: str | None, *, takes_sampling: bool) -> dict[str, Any]:
    """The headers of a request that differ from those of the SDK.

    Args:
        key: that the client has; without one, none is sent.
        takes_sampling: whether temperature or top_p is asked for.
    """
    from anthropic import omit

    headers: dict[str, Any] = {} if key else {"Authorization": omit}
    return headers | ({"anthropic-version": SAMPLING_VERSION} if takes_sampling else {})


def _thinking(field: ThinkingField) -> ThinkingConfigParam:
    if field == "adaptive":
        return {"type": "adaptive", "display": "summarized"}
    if field == "disabled":
        return {"type": "disabled"}
    return {"type": "between_tools"}
