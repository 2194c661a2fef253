"""Take items through a step, many at once, each on its own.

No row waits for another one, and no item is taken up before a place is free for it, so that memory
does not grow with the number of items.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Generator,
    Iterable,
    Mapping,
    Sequence,
    Sized,
)
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, TypeVar

from cai.engine.ledger import Ledger
from cai.engine.rows import RowEnded, RowKeeper, RowLog, RowWatcher, Sweep
from cai.errors import BudgetReached
from cai.records import RowStatus

Item = TypeVar("Item")
Result = TypeVar("Result")

TICK_SECONDS = 0.25
"""Between two moments at which a watcher is told that time has passed."""

COLLECT_AFTER = 20_000
"""New objects after which Python looks for reference cycles among them, in place of its 700."""


async def run_rows(
    items: Iterable[Item] | AsyncIterable[Item],
    step: Callable[[Item, RowLog], Awaitable[None]],
    *,
    ledger: Ledger,
    in_flight: int,
    progress: RowWatcher | None = None,
    stages: Collection[str],
) -> Mapping[RowStatus, int]:
    """Take every item through a step, and remove rows of these stages that were not made.

    As `make_rows`, whose items are all that the stages have.

    Returns:
        How many rows ended in which status.
    """
    sweep = await make_rows(
        items, step, ledger=ledger, in_flight=in_flight, progress=progress, stages=stages
    )
    await ledger.prune(sweep.stages, sweep.number)
    return dict(sweep.counts)


async def make_rows(
    items: Iterable[Item] | AsyncIterable[Item],
    step: Callable[[Item, RowLog], Awaitable[None]],
    *,
    ledger: RowKeeper,
    in_flight: int,
    progress: RowWatcher | None = None,
    stages: Collection[str],
) -> Sweep:
    """Take items through a step; rows of other items stay as they are.

    A step puts each finished row into the log it is given. It ends the item early by raising
    RowEnded; rows that it has put there before stay. Any other error stops the run, as does
    cancelling it: no new item is taken, calls under way are answered and kept, and the error is
    raised. When the budget is reached, items under way that need no further call still finish.

    Args:
        items: taken one by one as places become free; never held all at once.
        step: makes the rows of one item.
        ledger: keeps them.
        in_flight: most items under way at once, at least 1.
        progress: is told of rows and items as they end.
        stages: those whose rows the step makes.

    Returns:
        The sweep, with its number and how many rows ended in which status.

    Raises:
        RunError: the ledger cannot be written.
        ValueError: two items made the same row, or a row of another stage.
    """
    if in_flight < 1:
        raise ValueError(f"in_flight must be at least 1, got {in_flight}")
    sweep = Sweep(ledger, await ledger.begin_sweep(), stages=stages, watcher=progress)
    if progress is not None:
        progress.begin(len(items) if isinstance(items, Sized) else None)
    feed = _Feed(items)
    try:
        with _few_collections():
            await _work_off([lambda: _work(feed, step, sweep)] * in_flight, ledger, progress)
    finally:
        if progress is not None:
            progress.end()
    return sweep


async def _work_off(
    workers: Sequence[Callable[[], Coroutine[Any, Any, BudgetReached | None]]],
    ledger: RowKeeper,
    watcher: RowWatcher | None,
) -> None:
    """Run workers until all are done or one fails; leave nothing under way behind."""
    tasks = [asyncio.create_task(worker()) for worker in workers]
    try:
        all_done = asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        ended, _ = await _watched(all_done, watcher)
        reached = [task.result() for task in ended]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _watched(ledger.purchases.finish(), watcher, stopping=True)
        await ledger.flush()
    for limit in reached:
        if limit is not None:
            raise limit


@contextmanager
def _few_collections() -> Generator[None, None, None]:
    """Look for reference cycles seldom.

    Calls make many objects and hardly a cycle: with Python's own threshold, a fifth of the
    processor's time goes into looking for cycles.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(max(COLLECT_AFTER, thresholds[0]), *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


async def _watched(
    work: Coroutine[Any, Any, Result], watcher: RowWatcher | None, *, stopping: bool = False
) -> Result:
    """Wait for work, and let the watcher know that time passes: calls may take minutes."""
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({task}, timeout=TICK_SECONDS))[0]:
            if watcher is not None:
                watcher.tick(stopping)
    finally:
        task.cancel()
    return task.result()


async def _work(
    feed: _Feed[Item], step: Callable[[Item, RowLog], Awaitable[None]], sweep: Sweep
) -> BudgetReached | None:
    """Make rows until there are no more; a limit of the run stops this worker and no other.

    The others still finish what needs no further call. While the rows of one item are on their way
    to the disk, the next item is under way already.
    """
    log = RowLog(sweep)
    written = log.written()
    try:
        async for item in feed:
            log = RowLog(sweep)
            try:
                await step(item, log)
            except RowEnded as end:
                log.ended(end)
            except BudgetReached as limit:
                return limit
            await written
            written = log.written()
            written.add_done_callback(partial(_note_end, sweep, log.calls))
    finally:
        await asyncio.gather(written, log.written())
    return None


def _note_end(sweep: Sweep, calls: int, written: asyncio.Future[list[None]]) -> None:
    if not written.cancelled() and written.exception() is None:
        sweep.item_ended(calls)


class _Feed(Generic[Item]):
    """Gives each item to one worker only."""

    def __init__(self, items: Iterable[Item] | AsyncIterable[Item]) -> None:
        self._source = aiter(items) if isinstance(items, AsyncIterable) else iter(items)
        # An async source cannot be asked for its next item while it is still at the last one.
        self._lock = asyncio.Lock()

    def __aiter__(self) -> _Feed[Item]:
        return self

    async def __anext__(self) -> Item:
        if isinstance(self._source, AsyncIterator):
            async with self._lock:
                return await anext(self._source)
        try:
            return next(self._source)
        except StopIteration:
            raise StopAsyncIteration from None
