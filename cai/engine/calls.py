"""A language model whose answers are bought once: asked for, kept on disk, and found again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cai.engine.codec import (
    Request,
    completion_from_json,
    completion_request,
    settled,
    to_json,
    weighed_from_json,
    weighing_request,
)
from cai.engine.ledger import Ledger, StoredCall
from cai.engine.tally import Tally
from cai.errors import TransientError
from cai.models.base import LanguageModel
from cai.models.prices import Prices
from cai.records import Completion, Message, Sampling, Weighed

Ask = Callable[[], Awaitable[Completion | Weighed]]


@dataclass(frozen=True)
class Backoff:
    """How long to wait before a next try: exponential, capped, with full jitter.

    Args:
        first: longest wait before the second try, in seconds; it doubles with every try.
        longest: of any wait that the provider did not ask for, in seconds.
        sleep: waits a number of seconds.
        draw: a number between two, uniformly; full jitter keeps rows that failed together from
            coming back together.
    """

    first: float = 1.0
    longest: float = 60.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    draw: Callable[[float, float], float] = random.uniform

    def wait(self, failed: int, retry_after: float | None) -> float:
        """Seconds to wait after the try of this number failed; never less than was asked for."""
        jitter = self.draw(0.0, min(self.longest, self.first * 2 ** (failed - 1)))
        return jitter if retry_after is None else retry_after + min(jitter, self.first)


class BoughtModel:
    """A `LanguageModel` around another one.

    An answer is on disk before it is given back, with the ledger's key as its `call`. The key is
    the hash of model identity, provider options, messages and sampling, and of nothing else. Two
    equal calls at the same time are one.

    Args:
        model: the one that answers; closed with this.
        ledger: where answers are kept and looked up.
        tally: counts calls, tokens and retries.
        attempts: tries of a call that may yet succeed, at least 1.
        options: what the model's provider is told beside the request and what changes its
            answers, if the model's identity does not cover it.
        backoff: the waits between tries.
        prices: of the model's tokens, if known.
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
    ) -> None:
        """Wrap the model."""
        if attempts < 1:
            raise ValueError(f"attempts must be at least 1, got {attempts}")
        self.identity = model.identity
        self._model = model
        self._ledger = ledger
        self._counts = tally.of(self.identity)
        self._attempts = attempts
        self._options = dict(options or {})
        self._backoff = backoff or Backoff()
        self._prices = prices

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Sample one reply, or give the one that was bought.

        Raises:
            TransientError: every try failed.
            PermanentError, RejectedRequest: as the model itself.
            RunError: the answer could not be kept.
        """
        sampling = settled(sampling)
        request = completion_request(self.identity, self._options, messages, sampling)
        found, cached = await self._answer(
            request, lambda: self._model.complete(messages, sampling)
        )
        return completion_from_json(found.response, call=found.key, cached=cached)

    async def weigh(self, messages: Sequence[Message], options: Sequence[str]) -> Weighed:
        """Log-probabilities of options, now or as they were bought.

        Raises:
            TransientError, PermanentError, RejectedRequest, RunError: as in `complete`.
        """
        request = weighing_request(self.identity, self._options, messages, options)
        found, cached = await self._answer(request, lambda: self._model.weigh(messages, options))
        return weighed_from_json(found.response, call=found.key, cached=cached)

    async def close(self) -> None:
        """Close the model; the ledger stays open."""
        await self._model.close()

    async def _answer(self, request: Request, ask: Ask) -> tuple[StoredCall, bool]:
        found = await self._found(request.key)
        if found is not None:
            self._counts.cached += 1
            return found, True
        bought = await self._ledger.purchases.share(request.key, lambda: self._buy(request, ask))
        self._counts.cached += not bought.first
        return bought.answer, not bought.first

    async def _found(self, key: str) -> StoredCall | None:
        stored = self._ledger.call(key)
        if stored is None:
            stored = self._ledger.call_elsewhere(key)
            if stored is not None:
                await self._ledger.put_call(stored)
        return stored

    async def _buy(self, request: Request, ask: Ask) -> StoredCall:
        answer, seconds = await self._ask_until_answered(ask)
        call = StoredCall(
            key=request.key,
            kind=request.kind,
            model=self.identity,
            request=request.text,
            response=to_json(answer),
            usage=answer.usage,
            seconds=seconds,
            created=time.time(),
        )
        await self._ledger.put_call(call)
        self._counts.note_made(answer.usage, self._prices)
        return call

    async def _ask_until_answered(self, ask: Ask) -> tuple[Completion | Weighed, float]:
        purchases = self._ledger.purchases
        for failed in range(1, self._attempts + 1):
            began = time.perf_counter()
            self._counts.in_flight += 1
            try:
                return await ask(), time.perf_counter() - began
            except TransientError as error:
                if failed == self._attempts or purchases.stopping:
                    raise
                wait = self._backoff.wait(failed, error.retry_after)
            finally:
                self._counts.in_flight -= 1
            self._counts.retries += 1
            await purchases.rest(self._backoff.sleep(wait))
        raise RuntimeError("the last try neither answered nor failed")
