"""Calls under way: each bought once, however many rows wait for its answer.

A purchase is a task of its own. When a row is cancelled, what it has already asked for is still
answered and kept, for it is paid for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, NamedTuple, TypeVar

Answer = TypeVar("Answer")
Result = TypeVar("Result")


class Bought(NamedTuple, Generic[Answer]):
    """An answer, and whether this asker was the one to buy it."""

    answer: Answer
    first: bool


class Purchases(Generic[Answer]):
    """The purchases of one ledger, by key."""

    def __init__(self) -> None:
        """Begin with none."""
        self.stopping = False
        self._tasks: dict[str, asyncio.Task[Answer]] = {}
        self._resting: set[asyncio.Task[Any]] = set()

    async def share(
        self, key: str, buy: Callable[[], Coroutine[Any, Any, Answer]]
    ) -> Bought[Answer]:
        """The answer to a call: of the purchase under way, or of one begun now.

        Whatever `buy` raises is raised to everyone who waits for it.
        """
        task = self._tasks.get(key)
        first = task is None
        if task is None:
            task = asyncio.create_task(buy())
            self._tasks[key] = task
            task.add_done_callback(lambda ended: self._remove(key, ended))
        return Bought(await asyncio.shield(task), first)

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
            while self._tasks:
                await asyncio.wait(list(self._tasks.values()))
        finally:
            self.stopping = False

    def _remove(self, key: str, ended: asyncio.Task[Answer]) -> None:
        del self._tasks[key]
        if not ended.cancelled():
            # Those who asked may have been cancelled: the error has been seen all the same.
            ended.exception()
