"""Any provider that LangChain has an integration for, as `langchain:PROVIDER:MODEL`.

The class comes from `langchain.chat_models.init_chat_model`; its package, such as
`langchain-mistralai`, is the user's to install. LangChain's own retries and cache are off, since
both are the engine's. Tracing and callbacks are never switched on here; LangChain's environment
variables may.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cai.errors import PermanentError, TransientError
from cai.models.chat_wire import ContentFiltered
from cai.models.control_text import broken
from cai.models.label_samples import LabelSampling, weigh_by_samples
from cai.models.langchain_errors import Explained
from cai.models.langchain_integration import Integration
from cai.models.langchain_models import IntegrationModels
from cai.models.langchain_replies import (
    first_token,
    read_reply,
    read_usage,
    reported_model,
    response_headers,
    to_langchain,
    told_stop_reason,
)
from cai.models.limits import LimitsHeard, read_limits
from cai.models.turn_text import refuse_text
from cai.models.weighing import declined_label, weighed_by_top_k
from cai.records import Completion, Message, Sampling, Usage, Weighed

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage


class LangChainModel:
    """A `LanguageModel` behind a LangChain integration.

    A parameter that the class has no field for is an error if it would change answers. A seed
    without a place is left out, and answers then differ from run to run.

    Args:
        integration: the model and how to ask it.
        name: identity to use in place of provider, model and address.
    """

    def __init__(self, integration: Integration, name: str | None = None) -> None:
        """Keep what is meant; nothing is imported or connected before the first call."""
        self.integration = integration
        self._name = name
        self._models = IntegrationModels(integration)
        self._heard: LimitsHeard | None = None

    @property
    def identity(self) -> str:
        """``langchain:PROVIDER:MODEL@URL`` or the given name, and options that change answers."""
        return self.integration.identity(self._name)

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Sample one reply; as `LanguageModel.complete`."""
        alternatives = 0 if self.integration.token_logprobs else None
        try:
            answer = await self._ask(messages, sampling, alternatives)
        except ContentFiltered:
            return Completion("", "refusal", Usage(), self.integration.model)
        with self._explained():
            return read_reply(answer, self.integration.model, sampling.max_tokens)

    async def weigh(self, messages: Sequence[Message], options: Sequence[str]) -> Weighed:
        """Read the options among the likeliest first tokens, or sample; as `LanguageModel.weigh`.

        Classes with the fields `logprobs` and `top_logprobs` give log-probabilities.
        """
        if (plan := self.label_sampling) is not None:
            return await weigh_by_samples(self.complete, messages, options, plan)
        alternatives = self._models.most_alternatives
        try:
            answer = await self._ask(messages, Sampling(max_tokens=1), alternatives)
        except ContentFiltered:
            return declined_label(self.integration.model)
        with self._explained():
            top, model = first_token(answer), reported_model(answer) or self.integration.model
            if not top and told_stop_reason(answer) == "refusal":
                return declined_label(model)
            if not top:
                raise PermanentError(
                    f"{self.integration.name} gives no log-probabilities; set `label_samples: 8` "
                    "(or more) to estimate labels from sampled replies"
                )
            return weighed_by_top_k(top, options, read_usage(answer), model)

    @property
    def label_sampling(self) -> LabelSampling | None:
        """How labels are sampled; None if they are read from log-probabilities."""
        return self.integration.label_sampling

    def tell_limits(self, heard: LimitsHeard) -> None:
        """Tell of the limits in the headers of answers, where the class keeps headers."""
        self._heard = heard

    async def close(self) -> None:
        """Close the connections of OpenAI's classes; other classes have no way to close theirs."""
        await self._models.close()

    async def _ask(
        self, messages: Sequence[Message], sampling: Sampling, alternatives: int | None
    ) -> AIMessage:
        integration = self.integration
        refuse_text(messages, integration.name)
        mark = integration.prefill_mark() if messages[-1].role == "assistant" else None
        shown = broken(messages) if integration.control_tokens == "break" else messages
        model, by_call = self._models.prepared(sampling, alternatives)
        stop = list(sampling.stop) or None
        try:
            async with asyncio.timeout(integration.timeout):
                with self._explained():
                    answer = await model.ainvoke(to_langchain(shown, mark), stop=stop, **by_call)
        except TimeoutError as error:
            message = f"{integration.name} did not answer within {integration.timeout:g} s"
            raise TransientError(message, cause="overload") from error
        if self._heard is not None and (limits := read_limits(response_headers(answer))):
            self._heard(limits)
        return answer

    def _explained(self) -> Explained:
        return Explained(self.integration.name, TransientError)
