"""Calls under way: each bought once, however many rows wait for its answer.

A purchase is a task of its own. When a row is cancelled, what it has already asked for is still
answered and kept, for it is paid for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

Answer = TypeVar("Answer")
Result = TypeVar("Result")


class Bought(NamedTuple, Generic[Answer]):
    """An answer, and whether this asker was the one to buy it."""

    answer: Answer
    first: bool


class _Purchase(NamedTuple, Generic[Answer]):
    task: asyncio.Task[Answer]
    askers: list[asyncio.Future[Answer]]


class Purchases(Generic[Answer]):
    """The purchases of one ledger, by key."""

    def __init__(self) -> None:
        """Begin with none."""
        self.stopping = False
        self._under_way: dict[str, _Purchase[Answer]] = {}
        self._resting: set[asyncio.Task[Any]] = set()

    async def share(
        self, key: str, buy: Callable[[], Coroutine[Any, Any, Answer]]
    ) -> Bought[Answer]:
        """The answer to a call: of the purchase under way, or of one begun now.

        Whatever `buy` raises is raised to everyone who waits for it.
        """
        loop = asyncio.get_running_loop()
        purchase = self._under_way.get(key)
        first = purchase is None
        if purchase is None:
            askers: list[asyncio.Future[Answer]] = []
            purchase = _Purchase(loop.create_task(buy()), askers)
            self._under_way[key] = purchase
            purchase.task.add_done_callback(partial(self._tell, key))
        # A future of their own: askers who are cancelled leave the purchase and the others alone.
        answer: asyncio.Future[Answer] = loop.create_future()
        purchase.askers.append(answer)
        return Bought(await answer, first)

    async def rest(self, pause: Awaitable[Result]) -> Result:
        """Wait, in the purchase that runs here, before it asks; `finish` cuts this short."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a purchase rests inside its own task")
        self._resting.add(task)
        try:
            return await pause
        finally:
            self._resting.discard(task)

    async def finish(self) -> None:
        """Let every call under way be answered; those that wait to be asked give up."""
        self.stopping = True
        try:
            for task in self._resting:
                task.cancel()
            # A purchase may be made of others, which it begins while this waits.
            while self._under_way:
                await asyncio.wait([purchase.task for purchase in self._under_way.values()])
        finally:
            self.stopping = False

    def _tell(self, key: str, ended: asyncio.Task[Answer]) -> None:
        askers = [asker for asker in self._under_way.pop(key).askers if not asker.done()]
        if ended.cancelled():
            for asker in askers:
                asker.cancel()
        # Asked of the task even if nobody waits any more: then the error has been seen.
        elif (error := ended.exception()) is not None:
            for asker in askers:
                asker.set_exception(error)
        else:
            for asker in askers:
                asker.set_result(ended.result())
