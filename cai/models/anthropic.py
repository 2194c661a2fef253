"""Anthropic's models, over the official SDK.

The API gives no log-probabilities and takes no seed. Labels are estimated from sampled replies.
Equal requests draw fresh replies: the seed stays in the ledger's key, so each sample is a call of
its own, bought once, but a run with an empty ledger gets other texts.

The SDK comes with a client on aiohttp; its default one slows down with the number of connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cai.errors import ModelError, PermanentError, TransientError
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
from cai.models.shared_prefixes import SharedPrefixes
from cai.records import Completion, Message, Sampling, Usage, Weighed

if TYPE_CHECKING:
    from anthropic import APIConnectionError, AsyncAnthropic
    from anthropic.types import ThinkingConfigParam
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

SAMPLING_VERSION = "2023-06-01"
"""The last version of the API that takes temperature and top_p; the SDK asks for a later one."""

HIDDEN = "[key]"
"""Stands for the key where a server's words repeat it."""


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
        endpoint = self.endpoint
        extra = sampling_fields(endpoint.model, sampling, endpoint.thinking_sent)
        body = self._body(messages, sampling)
        try:
            return await self._reply(body, extra)
        except ContentFiltered:
            return Completion("", "refusal", Usage(), endpoint.model)
        except ModelError as error:
            _hide(self._client.api_key if self._client else None, error)
            raise

    async def weigh(self, messages: Sequence[Message], options: Sequence[str]) -> Weighed:
        """Estimate the options from sampled replies; as `LanguageModel.weigh`."""
        return await weigh_by_samples(self.complete, messages, options, self.label_sampling)

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

    async def _reply(
        self, body: MessageCreateParamsNonStreaming, extra: Mapping[str, float]
    ) -> Completion:
        content = await self._post(body, extra)
        try:
            return read_message(content, self.endpoint.model)
        except MISSHAPEN as error:
            raise TransientError(
                f"{self.endpoint.url} gave an answer of another shape than a message "
                f"({type(error).__name__}: {error})"
            ) from error

    async def _post(
        self, body: MessageCreateParamsNonStreaming, extra: Mapping[str, float]
    ) -> bytes:
        from anthropic import APIConnectionError, APIStatusError, omit

        client = self._connected()
        headers: dict[str, Any] = {} if client.api_key else {"Authorization": omit}
        if extra:
            headers["anthropic-version"] = SAMPLING_VERSION
        url = f"{self.endpoint.url}/v1/messages"
        try:
            async with asyncio.timeout(self.endpoint.timeout):
                reply = await client.messages.with_raw_response.create(
                    **body, extra_body=extra or None, extra_headers=headers
                )
                content = await reply.read()
        except APIStatusError as error:
            answer = error.response
            self._tell(answer.headers)
            raise status_error(answer.status_code, answer.headers, answer.content, url) from error
        except TimeoutError as error:
            message = f"{url} did not answer within {self.endpoint.timeout:g} seconds"
            raise TransientError(message, cause="overload") from error
        except APIConnectionError as error:
            raise _connection_error(error, url) from error
        self._tell(reply.headers)
        return content

    def _tell(self, headers: Mapping[str, str]) -> None:
        if self._heard is not None and (limits := read_limits(headers)):
            self._heard(limits)

    def _connected(self) -> AsyncAnthropic:
        if self._client is None:
            from anthropic import AsyncAnthropic, DefaultAioHttpClient, Timeout
            from httpx2 import Limits

            limits = Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
            self._client = AsyncAnthropic(
                # An empty key is a key to the SDK: without one it would look for others.
                api_key=self.endpoint.api_key() or "",
                base_url=self.endpoint.url,
                max_retries=0,
                timeout=Timeout(self.endpoint.timeout, connect=CONNECT_SECONDS),
                http_client=DefaultAioHttpClient(limits=limits, follow_redirects=False),
            )
        return self._client


def _thinking(field: ThinkingField) -> ThinkingConfigParam:
    if field == "adaptive":
        return {"type": "adaptive", "display": "summarized"}
    if field == "disabled":
        return {"type": "disabled"}
    return {"type": "between_tools"}


def _hide(key: str | None, error: ModelError) -> None:
    """Take the key out of an error's text, where a server has repeated it."""
    if key and key in str(error):
        error.args = (str(error).replace(key, HIDDEN),)


def _connection_error(error: APIConnectionError, url: str) -> ModelError:
    from aiohttp import ClientConnectorCertificateError, ClientConnectorError, InvalidURL
    from anthropic import APITimeoutError

    causes = tuple(_causes(error))
    words = str(causes[-1]) or type(causes[-1]).__name__
    if any(isinstance(cause, ClientConnectorCertificateError | InvalidURL) for cause in causes):
        return PermanentError(f"{url} cannot be asked: {words}")
    if isinstance(error, APITimeoutError):
        return TransientError(f"{url} did not answer in time ({words})", cause="overload")
    unreachable = any(isinstance(cause, ClientConnectorError) for cause in causes)
    return TransientError(f"{url}: {words}", cause="unreachable" if unreachable else "fault")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
