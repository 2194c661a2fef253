"""Any server that speaks OpenAI's interfaces, such as OpenAI, vLLM, llama.cpp or Ollama.

What a server takes and gives is known by its kind (`cai.models.capabilities`), stated by a person,
or found out: whether it gives log-probabilities by the first label that it is asked for, whether
it goes on with a last assistant turn by a question of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cai.errors import ModelError, TransientError
from cai.models.batches import BatchService
from cai.models.capabilities import Api, Prefill
from cai.models.capability_notes import Noted, keep_notes, notes_path, read_notes
from cai.models.chat_wire import MISSHAPEN, ContentFiltered, raise_if_filtered, read_usage
from cai.models.label_samples import LABEL_SAMPLES, LabelSampling, weigh_by_samples
from cai.models.learning import NoLogprobs
from cai.models.limits import LimitsHeard
from cai.models.openai_batches import OpenAIBatches
from cai.models.openai_chat import ChatInterface
from cai.models.openai_completions import CompletionsInterface
from cai.models.openai_connection import CONNECT_SECONDS, CONNECTIONS, Connection
from cai.models.openai_echo import Weighing, weigh_exactly
from cai.models.openai_endpoint import OPENAI, TOP_LOGPROBS, Endpoint
from cai.models.openai_probes import find_owner, find_prefill, missing_logprobs
from cai.models.openai_requests import Interface
from cai.models.openai_responses import ResponsesInterface
from cai.models.option_rests import weigh_rests
from cai.models.turn_text import begun
from cai.models.weighing import declined_label, unclosed, weighed_by_top_k
from cai.models.wire import HttpReply, WireCall
from cai.records import Completion, Message, Sampling, Usage, Weighed

__all__ = ["CONNECTIONS", "CONNECT_SECONDS", "OPENAI", "Endpoint", "OpenAICompatibleModel"]

SAMPLE_TOKENS = 16
"""Longest reply sampled for a label: a letter, with whatever a chat model puts around it."""

REASONING_TOKENS = 4096
"""The same for models that think before they answer, within the same limit."""

INTERFACES: Mapping[Api, Callable[[Endpoint], Interface]] = {
    "chat": ChatInterface,
    "completions": CompletionsInterface,
    "responses": ResponsesInterface,
}

logger = logging.getLogger("cai")


@dataclass
class OpenAICompatibleModel:
    """A `LanguageModel` behind an OpenAI-compatible server; owns its connections.

    Retries are the engine's: here every failure is an error of its kind. Connections belong to
    one event loop; close the model before that ends.

    Args:
        endpoint: the model and how to ask it.
        name: identity to use in place of provider, model and address, so that replicas or a
            moved server share one.
    """

    endpoint: Endpoint
    name: str | None = None
    _interface: Interface = field(init=False, repr=False)
    _connection: Connection = field(init=False, repr=False)
    _noted: Noted | None = field(default=None, init=False, repr=False)
    _has_listed: bool = field(default=False, init=False, repr=False)
    _learning: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        """Choose the interface; nothing is connected yet."""
        self._interface = INTERFACES[self.endpoint.used_api](self.endpoint)
        self._connection = Connection(self.endpoint)

    @property
    def identity(self) -> str:
        """``provider:model@url`` or the given name, and the options that change answers."""
        endpoint = self.endpoint
        name = self.name or f"{endpoint.provider}:{endpoint.model}@{endpoint.url}"
        return name + endpoint.options()

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Sample one reply; as `LanguageModel.complete`."""
        body = self._body(messages, sampling)
        reply = await self._connection.post(self._interface.path, body)
        return self._completion(messages, sampling, reply)

    async def weigh(self, messages: Sequence[Message], options: Sequence[str]) -> Weighed:
        """Read the options among the likeliest first tokens, or sample; as `LanguageModel.weigh`.

        An option that is not among them is asked for by itself, where the server echoes a prompt;
        or what comes after its beginning, where the server goes on with a turn (not in batches).
        Else it gets an upper bound, so that p is nearer to ½ than the model's.

        Raises:
            NoLogprobs: there are none, and that was not known; from now on labels are sampled.
        """
        if (plan := self.label_sampling) is not None:
            return await weigh_by_samples(self.complete, messages, options, plan)
        options, asked = unclosed(options), tuple(options)
        call, endpoint = self.weighing(messages, options), self.endpoint
        plain = self._interface if isinstance(self._interface, CompletionsInterface) else None
        if plain is None or not endpoint.capabilities.echo or options != asked:
            return await self._weigh_listed(call, messages, options)
        try:
            answer = await self._post(call.body)
            if plain.first_token(answer):
                weighing = Weighing(call.body, options, answer)
                return await weigh_exactly(plain, self._post, weighing, endpoint.model)
            raise self._no_logprobs(answer)
        except ContentFiltered:
            return declined_label(endpoint.model)
        except MISSHAPEN as error:
            raise self._misread(error) from error

    async def _weigh_listed(
        self, call: WireCall[Weighed], messages: Sequence[Message], options: Sequence[str]
    ) -> Weighed:
        """The options among the likeliest first tokens; where one begins some, it goes on."""
        reply = await self._connection.post(call.path, call.body)
        first, plain = call.read(reply), self.endpoint.used_api == "completions"
        goes_on = plain or self._prefill() is not False
        if first.refused or not goes_on or max(map(len, options)) == 1:
            return first
        top = self._interface.first_token(self._read(reply))
        return await weigh_rests(
            first, top, options, lambda text, rests: self.weigh(begun(messages, text), rests)
        )

    def completing(self, messages: Sequence[Message], sampling: Sampling) -> WireCall[Completion]:
        """The call of `complete`, as it goes over the wire."""
        read = partial(self._completion, messages, sampling)
        return WireCall(self._interface.path, self._body(messages, sampling), read)

    def weighing(self, messages: Sequence[Message], options: Sequence[str]) -> WireCall[Weighed]:
        """The call of `weigh` by log-probabilities, as it goes over the wire."""

        def read(reply: HttpReply) -> Weighed:
            try:
                answer = self._read(reply)
                top = self._interface.first_token(answer)
                if not top:
                    raise self._no_logprobs(answer)
                self._has_listed = True
                model = str(answer.get("model") or self.endpoint.model)
                return weighed_by_top_k(
                    top, options, read_usage(answer), model, self.endpoint.is_one_token
                )
            except ContentFiltered:
                return declined_label(self.endpoint.model)
            except MISSHAPEN as error:
                raise self._misread(error) from error

        body = self._body(messages, Sampling(max_tokens=1))
        asking = self._interface.with_logprobs(body, self.listed)
        return WireCall(self._interface.path, asking, read)

    @property
    def label_sampling(self) -> LabelSampling | None:
        """How labels are sampled; None if they are read from log-probabilities."""
        stated = self.endpoint.label_samples
        if stated is None and self._lists_tokens():
            return None
        longest = REASONING_TOKENS if self.endpoint.reasons else SAMPLE_TOKENS
        return LabelSampling(stated or LABEL_SAMPLES, longest, in_identity=stated is not None)

    @property
    def noted(self) -> Noted:
        """What was found out of the server, now or earlier."""
        if self._noted is None:
            self._noted = read_notes(self.endpoint)
        return self._noted

    @property
    def prefill_known(self) -> bool:
        """As `LearnsPrefill.prefill_known`; a plain text is always gone on with."""
        endpoint = self.endpoint
        if endpoint.used_api != "chat" or endpoint.capabilities.prefill is not None:
            return True
        return self.noted.prefill is not None

    @property
    def learned_prefill(self) -> Mapping[str, Any]:
        """As `LearnsPrefill.learned_prefill`."""
        endpoint = self.endpoint
        if endpoint.used_api != "chat" or endpoint.capabilities.prefill is not None:
            return {}
        return {"prefill": self.noted.prefill}

    async def learn_prefill(self) -> Completion:
        """As `LearnsPrefill.learn_prefill`; calls at the same time find it out once."""
        async with self._learning:
            if self.prefill_known:
                return Completion("", "stop", Usage(), self.endpoint.model)
            found = await find_prefill(self.ask)
            self.note(prefill=found.way)
            return found.reply

    async def ask(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        prefill: Prefill,
        fields: Mapping[str, Any],
    ) -> tuple[Completion, int]:
        """Ask with further fields; gives the first reply, and how many there are.

        Raises:
            TransientError, PermanentError, RejectedRequest: as in `complete`.
        """
        body = {**self._interface.request(messages, sampling, prefill), **fields}
        try:
            answer = await self._post(body)
            completion = self._interface.completion(answer, messages, sampling)
            return completion, len(answer.get("choices") or (completion,))
        except MISSHAPEN as error:
            raise self._misread(error) from error

    def batches(self) -> BatchService:
        """The Batch API at the same address."""
        return OpenAIBatches(self.endpoint)

    async def owner(self) -> str | None:
        """Who owns the model, as the server's list of models says; None if it does not say."""
        return await find_owner(self._connection, self.endpoint.model)

    @property
    def listed(self) -> int:
        """Likeliest tokens of a position that the server is asked for."""
        return (self.endpoint.top_logprobs or TOP_LOGPROBS) if self._lists_tokens() else 0

    def note(self, **found: Any) -> None:
        """Keep what was found out: fields of `Noted`."""
        self._noted = keep_notes(self.endpoint, **found)

    def forget(self) -> None:
        """Know nothing of what was noted, so that it is found out anew."""
        self._noted = Noted()

    def tell_limits(self, heard: LimitsHeard) -> None:
        """Tell of the limits in the headers of every answer that has some."""
        self._connection.heard = heard

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    def _lists_tokens(self) -> bool:
        """True if log-probabilities are asked for: known to be there, or not known."""
        known = self.endpoint.top_logprobs
        return self.noted.logprobs != 0 if known is None else known > 0

    def _prefill(self) -> Prefill:
        known = self.endpoint.capabilities.prefill
        known = self.noted.prefill if known is None else known
        return False if known is None else known

    def _body(self, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
        prefill = self._prefill() if messages[-1].role == "assistant" else False
        return self._interface.request(messages, sampling, prefill)

    async def _post(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._read(await self._connection.post(self._interface.path, body))

    def _completion(
        self, messages: Sequence[Message], sampling: Sampling, reply: HttpReply
    ) -> Completion:
        try:
            return self._interface.completion(self._read(reply), messages, sampling)
        except ContentFiltered:
            return Completion("", "refusal", Usage(), self.endpoint.model)
        except MISSHAPEN as error:
            raise self._misread(error) from error

    def _read(self, reply: HttpReply) -> Mapping[str, Any]:
        return self._interface.read(self._connection.content(self._interface.path, reply))

    def _no_logprobs(self, answer: Mapping[str, Any]) -> ModelError:
        """The error of an answer that lists no token; notes it if the server never does."""
        raise_if_filtered(answer)
        gives = bool(self.endpoint.top_logprobs or self._has_listed or self.noted.logprobs)
        error = missing_logprobs(self.endpoint, answer, gives=gives)
        if isinstance(error, NoLogprobs) and self.noted.logprobs is None:
            self.note(logprobs=0)
            logger.warning("%s (noted in %s)", error, notes_path())
        return error

    def _misread(self, error: Exception) -> TransientError:
        return TransientError(
            f"{self.endpoint.url} gave an answer of another shape than that of "
            f"{self._interface.path} ({type(error).__name__}: {error})"
        )
