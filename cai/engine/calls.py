"""A language model whose answers are bought once: asked for, kept on disk, and found again."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cai.engine.backoff import Backoff
from cai.engine.budget import Budget, Place
from cai.engine.codec import (
    Request,
    completion_from_json,
    completion_request,
    settled,
    to_json,
    weighed_from_json,
    weighing_request,
    with_call,
)
from cai.engine.ledger import Ledger, StoredCall
from cai.engine.need import ONE_REQUEST, Need, need_of
from cai.engine.pressure import Pressure
from cai.engine.tally import Tally
from cai.errors import PermanentError, RunError, TransientError
from cai.models.base import LanguageModel
from cai.models.label_samples import LabelSampling, WeighsBySamples, weigh_by_samples
from cai.models.learning import LearnsPrefill, NoLogprobs
from cai.models.limits import TellsLimits
from cai.models.prices import Prices
from cai.records import Completion, Message, Sampling, Usage, Weighed
from cai.redaction import HIDDEN

Ask = Callable[[], Awaitable[Completion | Weighed]]


class BoughtModel:
    """A `LanguageModel` around another one.

    An answer is on disk before it is given back, with the ledger's key as its `call`. The key is
    the hash of model identity, provider options, messages and sampling, and of nothing else. Two
    equal calls at the same time are one.

    A label from sampled replies is made of calls that are each bought in this way, and kept beside
    them as a call of no tokens.

    Args:
        model: the one that answers; closed with this.
        ledger: where answers are kept and looked up.
        tally: counts calls, tokens and retries.
        attempts: tries of a call that may yet succeed, at least 1.
        options: what the model's provider is told beside the request and what changes its
            answers, if the model's identity does not cover it.
        backoff: the waits between tries.
        prices: of the model's tokens, if known.
        pressure: what its server is asked at once and per minute; None: nothing holds it back.
        budget: what the run may spend; None: any amount.
    """

    def __init__(
        self,
        model: LanguageModel,
        ledger: Ledger,
        *,
        tally: Tally,
        attempts: int = 6,
        options: Mapping[str, Any] | None = None,
        backoff: Backoff | None = None,
        prices: Prices | None = None,
        pressure: Pressure | None = None,
        budget: Budget | None = None,
    ) -> None:
        """Wrap the model.

        Raises:
            CaiError: the budget limits dollars, and the prices are unknown.
        """
        if attempts < 1:
            raise ValueError(f"attempts must be at least 1, got {attempts}")
        if budget is not None:
            budget.check_prices({model.identity: prices})
        self.identity = model.identity
        self._model = model
        self._ledger = ledger
        self._counts = tally.of(self.identity)
        self._attempts = attempts
        self._options = dict(options or {})
        self._backoff = backoff or Backoff()
        self._prices = prices
        self._pressure = pressure
        self._budget = budget or Budget()
        self._sampler = model if isinstance(model, WeighsBySamples) else None
        self._learner = model if isinstance(model, LearnsPrefill) else None
        if pressure is not None and isinstance(model, TellsLimits):
            model.tell_limits(pressure.note_limits)

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Sample one reply, or give the one that was bought.

        Raises:
            TransientError: every try failed.
            PermanentError, RejectedRequest: as the model itself.
            BudgetReached: the run may not spend what the call may cost.
            RunError: the answer could not be kept.
        """
        sampling = settled(sampling)
        options = self._options
        if messages[-1].role == "assistant":
            options = await self._learned(messages)
        request = completion_request(self.identity, options, messages, sampling)

        async def buy() -> StoredCall:
            need = self._need(messages, sampling.max_tokens)
            return await self._buy(request, need, lambda: self._model.complete(messages, sampling))

        found, cached = await self._answer(request, buy)
        answer = found.answer
        if isinstance(answer, Completion):
            return with_call(answer, found.key, cached=cached)
        return completion_from_json(found.response, call=found.key, cached=cached)

    async def weigh(self, messages: Sequence[Message], options: Sequence[str]) -> Weighed:
        """Log-probabilities of options, now or as they were bought.

        Raises:
            TransientError, PermanentError, RejectedRequest, BudgetReached, RunError: as in
                `complete`.
        """
        try:
            return await self._weighed(messages, options)
        except NoLogprobs:
            # It has noted that: the label is another call now, of sampled replies.
            if self._sampler is None or self._sampler.label_sampling is None:
                raise
            return await self._weighed(messages, options)

    async def _weighed(self, messages: Sequence[Message], options: Sequence[str]) -> Weighed:
        plan = None if self._sampler is None else self._sampler.label_sampling
        said = {**await self._learned(messages), **(plan.key_options if plan else {})}
        request = weighing_request(self.identity, said, messages, options)

        async def buy() -> StoredCall:
            if plan is not None:
                return await self._sample(request, messages, options, plan)
            need = self._need(messages, 1)
            return await self._buy(request, need, lambda: self._model.weigh(messages, options))

        found, cached = await self._answer(request, buy)
        return weighed_from_json(found.response, call=found.key, cached=cached)

    async def close(self) -> None:
        """Close the model; the ledger stays open."""
        await self._model.close()

    async def _learned(self, messages: Sequence[Message]) -> Mapping[str, Any]:
        """What the key says beside identity and request, with how a last turn is gone on with."""
        if self._learner is None or messages[-1].role != "assistant":
            return self._options
        if not self._learner.prefill_known:
            await self._ask_until_answered(ONE_REQUEST, self._learner.learn_prefill)
        return {**self._options, **self._learner.learned_prefill}

    async def _answer(
        self, request: Request, buy: Callable[[], Coroutine[Any, Any, StoredCall]]
    ) -> tuple[StoredCall, bool]:
        found = await self._found(request.key)
        if found is not None:
            self._counts.cached += 1
            return found, True
        bought = await self._ledger.purchases.share(request.key, buy)
        self._counts.cached += not bought.first
        return bought.answer, not bought.first

    async def _found(self, key: str) -> StoredCall | None:
        stored = self._ledger.call(key)
        if stored is None:
            stored = self._ledger.call_elsewhere(key)
            if stored is not None:
                await self._ledger.put_call(stored)
        return stored

    def _need(self, messages: Sequence[Message], max_tokens: int) -> Need:
        paced = self._pressure is not None and self._pressure.counts_tokens
        if paced or self._budget.max_cost is not None:
            return need_of(messages, max_tokens)
        return ONE_REQUEST

    async def _buy(self, request: Request, need: Need, ask: Ask) -> StoredCall:
        if self._ledger.purchases.stopping:
            raise RunError("the run stops; this call is not made")
        with await self._place(need) as place:
            answer, seconds = await self._ask_until_answered(need, ask)
            place.paid(self._cost(answer.usage, place.cost))
        call = await self._keep(request, answer, seconds)
        self._counts.note_made(answer.usage, self._prices)
        return call

    async def _sample(
        self,
        request: Request,
        messages: Sequence[Message],
        options: Sequence[str],
        plan: LabelSampling,
    ) -> StoredCall:
        weighed = await weigh_by_samples(self.complete, messages, options, plan)
        return await self._keep(request, replace(weighed, usage=Usage()), 0.0)

    async def _keep(
        self, request: Request, answer: Completion | Weighed, seconds: float
    ) -> StoredCall:
        response = to_json(answer)
        call = StoredCall(
            key=request.key,
            kind=request.kind,
            model=self.identity,
            request=request.text,
            response=response,
            usage=answer.usage,
            seconds=seconds,
            created=time.time(),
            # An answer that held a key is read back without it.
            answer=None if HIDDEN in response else answer,
        )
        await self._ledger.put_call(call)
        return call

    async def _place(self, need: Need) -> Place:
        """A place in the budget, for what the call may cost at most."""
        most = 0.0 if self._prices is None else self._prices.most(need.usage)
        place = self._budget.take_now(most)
        return place or await self._ledger.purchases.rest(self._budget.take(most))

    def _cost(self, usage: Usage, most: float) -> float:
        """Dollars for an answer; a server that counts no tokens is taken to have used the most."""
        if self._prices is None:
            return 0.0
        return self._prices.cost(usage) if usage.input_tokens else most

    async def _ask_until_answered(self, need: Need, ask: Ask) -> tuple[Completion | Weighed, float]:
        purchases = self._ledger.purchases
        for failed in range(1, self._attempts + 1):
            try:
                return await self._ask(need, ask)
            except TransientError as error:
                self._stop_if_never_answered(error)
                if failed == self._attempts or purchases.stopping:
                    raise
                wait = self._backoff.wait(failed, error.retry_after)
            self._counts.retries += 1
            await purchases.rest(self._backoff.sleep(wait))
        raise RuntimeError("the last try neither answered nor failed")

    async def _ask(self, need: Need, ask: Ask) -> tuple[Completion | Weighed, float]:
        """One try, let in by the pressure; gives the seconds that the answer took, too."""
        pressure = self._pressure
        if pressure is None:
            return await self._timed(ask)
        purchases = self._ledger.purchases
        admission = pressure.admit_now(need) or await purchases.rest(pressure.admit(need))
        with admission:
            answer, seconds = await self._timed(ask)
            admission.usage = answer.usage
        return answer, seconds

    async def _timed(self, ask: Ask) -> tuple[Completion | Weighed, float]:
        self._counts.in_flight += 1
        began = time.perf_counter()
        try:
            answer = await ask()
        finally:
            self._counts.in_flight -= 1
        return answer, time.perf_counter() - began

    def _stop_if_never_answered(self, error: TransientError) -> None:
        pressure = self._pressure
        if pressure is None or pressure.has_answered or pressure.silent_tries < self._attempts:
            return
        raise PermanentError(
            f"{self.identity} has answered no call of this run yet, and the last tries were made "
            f"one at a time: {error}"
        ) from error
