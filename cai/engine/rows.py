"""How rows end: finished, or ended early with a status and a reason."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, NoReturn, Protocol

from cai.engine.ledger import StoredCall
from cai.engine.purchases import Purchases
from cai.errors import RejectedRequest, TransientError
from cai.records import BY_FALLBACK, Refusal, Row, RowKey, RowStatus

_MADE: ContextVar[tuple[RowKey | None, str]] = ContextVar("row and part", default=(None, ""))


class RowEnded(Exception):
    """A row ended without a record; the rows that would follow from it are not made.

    Args:
        key: the row.
        status: how it ended, not "ok".
        reason: why, for people.
        calls: ledger keys of the calls that led to this.
    """

    def __init__(
        self, key: RowKey, status: RowStatus, reason: str, calls: Sequence[str] = ()
    ) -> None:
        """Keep what `Row` needs."""
        if status == "ok":
            raise ValueError(f"the row {key} ended early, so its status cannot be ok")
        super().__init__(f"{key.stage}/{key.prompt_id}: {status}: {reason}")
        self.row = Row(key, status, reason, None, tuple(calls))


def making(key: RowKey, part: str = "") -> AbstractContextManager[None]:
    """Say which row the calls inside the block are made for, and so which one ends if they fail.

    Args:
        key: the row.
        part: what the calls are for within the row, if that is not its stage: "critique".

    Raises:
        RowEnded: "filtered" if the model cannot answer such a request, "error" if it has not
            answered after the last try. What concerns the whole run is raised as it is.
    """
    return _Making(key, part or key.stage)


class _Making:
    # A class, not a generator: it is entered for every call, and this takes half the time.
    __slots__ = ("_before", "_made")

    def __init__(self, key: RowKey, part: str) -> None:
        self._made = (key, part)

    def __enter__(self) -> None:
        self._before = _MADE.get()
        _MADE.set(self._made)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _MADE.set(self._before)
        if isinstance(error, RejectedRequest):
            raise RowEnded(self._made[0], "filtered", str(error)) from error
        if isinstance(error, TransientError):
            raise RowEnded(self._made[0], "error", str(error)) from error


def part_made() -> str:
    """What the call under way is made for, as `making` was told; empty outside of any row."""
    return _MADE.get()[1]


def row_made() -> RowKey | None:
    """The row that the call under way is made for, as `making` was told; None outside of any."""
    return _MADE.get()[0]


class RowKeeper(Protocol):
    """Where the rows of a pass go: the ledger of a run, or what stands in for it."""

    @property
    def purchases(self) -> Purchases[StoredCall]:
        """The calls under way."""
        ...

    async def begin_sweep(self) -> int:
        """Number a new pass."""
        ...

    def queue_rows(self, rows: Iterable[Row], sweep: int = 0) -> asyncio.Future[None]:
        """Keep rows; the future is done once they are where they stay."""
        ...

    async def flush(self) -> None:
        """Wait until everything asked for so far is where it stays."""
        ...


class RowWatcher(Protocol):
    """Is told of rows as they end."""

    def begin(self, total: int | None) -> None:
        """The first item is about to be taken; `total` is the number of items, if known."""
        ...

    def row(self, row: Row) -> None:
        """A row ended."""
        ...

    def item(self, calls: int) -> None:
        """An item ended, with all of its rows, which came from so many calls."""
        ...

    def tick(self, stopping: bool = False) -> None:
        """Some time has passed; if `stopping`, no item is taken and calls are waited for."""
        ...

    def end(self) -> None:
        """No more will come, because all is done or because the run stops."""
        ...


class Sweep:
    """One pass over some stages: counts the rows it makes and hands them to the ledger.

    Args:
        ledger: where rows are kept.
        number: from `Ledger.begin_sweep`.
        stages: the only stages whose rows it may make.
        watcher: is told of every row.
    """

    def __init__(
        self, ledger: RowKeeper, number: int, *, stages: Collection[str], watcher: RowWatcher | None
    ) -> None:
        """Begin with no rows."""
        self.number = number
        self.counts: dict[RowStatus, int] = {}
        self.stages = frozenset(stages)
        self._ledger = ledger
        self._watcher = watcher

    def keep(self, row: Row) -> asyncio.Future[None]:
        """Count a row and ask the ledger to keep it; the future is done once it is on disk."""
        if row.key.stage not in self.stages:
            named = ", ".join(sorted(self.stages))
            raise ValueError(f"a row of stage {row.key.stage!r} in a sweep over {named}")
        kept = self._ledger.queue_rows((row,), self.number)
        self.counts[row.status] = self.counts.get(row.status, 0) + 1
        if self._watcher is not None:
            self._watcher.row(row)
        return kept

    def item_ended(self, calls: int) -> None:
        """An item ended, with all of its rows on disk, which came from so many calls."""
        if self._watcher is not None:
            self._watcher.item(calls)


class RowLog:
    """Where a step puts the rows of one item, each as soon as it is finished."""

    def __init__(self, sweep: Sweep) -> None:
        """Begin with no rows."""
        self.calls = 0
        self._sweep = sweep
        self._asked: list[asyncio.Future[None]] = []

    async def ok(
        self,
        key: RowKey,
        record: Mapping[str, Any],
        calls: Sequence[str],
        refusals: Sequence[Refusal] = (),
    ) -> None:
        """Keep a finished row; it stays when a later row of the item fails.

        Args:
            key: the row.
            record: its record as JSON data.
            calls: ledger keys of the calls that made it.
            refusals: of the models that declined before the fallback answered; their calls join
                the row's.
        """
        declined = tuple(refusal.call for refusal in refusals)
        reason = BY_FALLBACK if refusals else ""
        self._keep(Row(key, "ok", reason, record, (*calls, *declined)))

    def end(self, key: RowKey, status: RowStatus, reason: str) -> NoReturn:
        """End a row and with it the item.

        Raises:
            RowEnded: always.
        """
        raise RowEnded(key, status, reason)

    def ended(self, end: RowEnded) -> None:
        """Keep a row that ended early."""
        self._keep(end.row)

    def written(self) -> asyncio.Future[list[None]]:
        """Done once every row of the item is on disk.

        It raises RunError if the disk is full or refuses, and ValueError if a row was made twice.
        """
        return asyncio.gather(*self._asked)

    def _keep(self, row: Row) -> None:
        self.calls += len(row.calls)
        self._asked.append(self._sweep.keep(row))
