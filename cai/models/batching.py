"""Gathers concurrent calls into batches for one worker thread that owns the model.

The event loop keeps the queue; the thread tokenises, samples and reads, so tokenizer and model
are never used from two threads. A finished call is answered at once, not with its batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from cai.errors import CaiError, RejectedRequest

LINGER = 0.003
"""Seconds of silence after which a batch begins: calls that follow others come in bursts."""

MOST_ROWS = 256
"""Rows of one batch; past this, a step's time grows with the rows."""

Request = TypeVar("Request", contravariant=True)


@dataclass(frozen=True)
class Prepared:
    """A call ready to run.

    Args:
        kind: calls of one kind can share a batch.
        width: positions that its row takes at its longest.
        rows: number of rows that it takes.
        content: what the worker needs to run it.
    """

    kind: str
    width: int
    rows: int
    content: Any


class Worker(Protocol[Request]):
    """What runs in the thread."""

    def prepare(self, request: Request) -> Prepared:
        """Tokenise a request. Raises CaiError: this request cannot be run."""
        ...

    def run(self, batch: Sequence[Prepared], deliver: Callable[[int, Any], None]) -> None:
        """Run calls of one kind; `deliver(index, answer)` is called for each."""
        ...

    def capacity(self) -> int:
        """Rows × positions that one batch may take; asked after the first `prepare`."""
        ...


@dataclass(eq=False)
class _Call(Generic[Request]):
    request: Request
    answer: asyncio.Future[Any]
    prepared: Prepared | None = None


class Batcher(Generic[Request]):
    """Owns the thread. To be used from one event loop at a time."""

    def __init__(self, worker: Worker[Request]) -> None:
        """Start nothing yet: the thread begins with the first call."""
        self._worker = worker
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cai-model")
        self._arrived: list[_Call[Request]] = []
        self._queue: list[_Call[Request]] = []
        self._pump: asyncio.Task[None] | None = None

    async def ask(self, request: Request) -> Any:
        """The worker's answer to one request.

        Raises:
            CaiError: as `Worker.prepare` and `Worker.run` do.
        """
        loop = asyncio.get_running_loop()
        call = _Call(request, loop.create_future())
        self._arrived.append(call)
        if self._pump is None or self._pump.done():
            self._pump = loop.create_task(self._serve())
        return await call.answer

    async def run_in_thread(self, function: Callable[[], Any]) -> Any:
        """Run something else where the model lives."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def close(self) -> None:
        """Let the running batch end, and the thread with it."""
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)

    async def _serve(self) -> None:
        while self._arrived or self._queue:
            await self._take_arrivals()
            if self._queue:
                batch = take_batch(self._queue, self._worker.capacity())
                await self._settle(batch, lambda deliver: self._run(batch, deliver))

    async def _take_arrivals(self) -> None:
        seen = -1
        while len(self._arrived) > seen:
            seen = len(self._arrived)
            await asyncio.sleep(LINGER)
        fresh, self._arrived = self._arrived, []
        await self._settle(fresh, lambda deliver: self._prepare(fresh, deliver))
        queued = [*self._queue, *fresh]
        self._queue = [call for call in queued if call.prepared and not call.answer.done()]

    async def _settle(
        self,
        calls: Sequence[_Call[Request]],
        work: Callable[[Callable[[_Call[Request], Any], None]], None],
    ) -> None:
        """Do work in the thread; what it raises is the answer to all calls still waiting."""
        loop = asyncio.get_running_loop()

        def deliver(call: _Call[Request], answer: Any) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_answer, call.answer, answer)

        done = loop.run_in_executor(self._thread, work, deliver)
        await asyncio.wait([done])
        if (error := done.exception()) is not None:
            for call in calls:
                _answer(call.answer, error)

    def _prepare(
        self, calls: Sequence[_Call[Request]], deliver: Callable[[_Call[Request], Any], None]
    ) -> None:
        for call in calls:
            try:
                call.prepared = self._worker.prepare(call.request)
            except CaiError as error:
                deliver(call, error)

    def _run(
        self, calls: Sequence[_Call[Request]], deliver: Callable[[_Call[Request], Any], None]
    ) -> None:
        prepared = [call.prepared for call in calls if call.prepared]
        run_halving(
            prepared, self._worker.run, lambda index, answer: deliver(calls[index], answer)
        )


def take_batch(queue: list[_Call[Any]], capacity: int) -> list[_Call[Any]]:
    """Remove from the queue the oldest call and those of its kind that fit beside it.

    Neighbours in width come first, so that little of the batch is padding. The oldest is always
    among them, so no call waits for ever; alone it may exceed the capacity.

    Args:
        queue: in order of arrival; not empty.
        capacity: rows × positions.
    """
    oldest = _ready(queue[0])
    fellows = sorted(
        (call for call in queue if _ready(call).kind == oldest.kind),
        key=lambda call: abs(_ready(call).width - oldest.width),
    )
    batch: list[_Call[Any]] = []
    rows, width = 0, 0
    for call in fellows:
        rows += _ready(call).rows
        width = max(width, _ready(call).width)
        if batch and (rows > MOST_ROWS or rows * width > capacity):
            break
        batch.append(call)
    taken = set(map(id, batch))
    queue[:] = [call for call in queue if id(call) not in taken]
    return sorted(batch, key=lambda call: _ready(call).width)


def run_halving(
    batch: Sequence[Prepared],
    run: Callable[[Sequence[Prepared], Callable[[int, Any], None]], None],
    deliver: Callable[[int, Any], None],
) -> None:
    """Run a batch; where memory runs out, run what is unanswered in two halves.

    Raises:
        RejectedRequest: not even one call alone fits in memory.
    """
    waiting = list(range(len(batch)))
    while waiting:
        for portion in _halves(waiting, batch, run, deliver):
            waiting = portion
    raise NotImplementedError


def _halves(*_: Any) -> Iterator[list[int]]:
    yield []


def _ready(call: _Call[Any]) -> Prepared:
    if call.prepared is None:
        raise TypeError("a call was queued before it was prepared")
    return call.prepared


def _answer(future: asyncio.Future[Any], answer: Any) -> None:
    if future.done():
        return
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)
