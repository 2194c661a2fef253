"""Group commit: what is asked for at nearly the same time reaches the disk together.

A commit waits for the disk. Shared by many writes it costs each of them little, and a write counts
only once the commit that holds it has returned. What comes while one group is being committed is
the next group, so a slow disk makes larger ones.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from cai.engine.opening import sqlite_errors
from cai.errors import RunError

GATHER_SECONDS = 0.002
"""How long a group gathers at most while every turn of the event loop brings more writes. One that
comes alone is committed at once: on a fast disk, waiting for others would take longer."""

MOST_ROWS = 128
"""Rows of one statement, a power of two; SQLite takes at most 32,766 values in one."""

Action = Callable[[sqlite3.Connection], Any]
Values = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Insert:
    """How rows go into a table.

    Args:
        table: its name.
        columns: their number; the first one is never NULL.
        conflict: what to do with a row whose key is there, such as ``ON CONFLICT DO NOTHING``.
        refusal: the error for a row that was not written; None if that is as it should be.
    """

    table: str
    columns: int
    conflict: str
    refusal: Callable[[Values], ValueError] | None = None


class _Rows(NamedTuple):
    insert: Insert
    values: Sequence[Values]


class _Write(NamedTuple):
    work: Action | _Rows
    future: asyncio.Future[Any]


class _Refused(Exception):
    """A statement has not written all of its rows."""


class Writer:
    """Owns the one connection that writes, and the thread in which it does.

    Args:
        connection: closed with this.
        path: its file, for messages.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Begin with nothing to write."""
        self._connection = connection
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger-writer")
        self._pending: list[_Write] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def submit(self, action: Action) -> asyncio.Future[Any]:
        """Ask for a write; writes happen in the order they were asked for.

        Args:
            action: does the write on the connection it is given, in another thread. A ValueError
                it raises fails this write alone, and keeps what it wrote. If a row of the same
                commit is refused, the write is undone and done again.

        Returns:
            A future with the action's result, done once that is on disk. It raises RunError if
            the disk or the file refused; then nothing of the write was kept.
        """
        return self._ask(action)

    def insert(self, insert: Insert, values: Sequence[Values]) -> asyncio.Future[None]:
        """Ask for rows to be inserted; as `submit`, but the rows of a commit go in together.

        Returns:
            A future as of `submit`. It raises the refusal of the first row that was not written;
            the others are kept.
        """
        return self._ask(_Rows(insert, values))

    def close(self) -> None:
        """Write what was asked for, and close the connection.

        Raises:
            RunError: the disk is full or refuses.
        """
        if self._closed:
            return
        self._closed = True
        left, self._pending = self._pending, []
        try:
            if left:
                self._thread.submit(self._commit, left).result()
        finally:
            self._thread.shutdown()
            self._connection.close()

    def _ask(self, work: Action | _Rows) -> asyncio.Future[Any]:
        if self._closed:
            raise RunError(f"{self._path} is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._pending.append(_Write(work, future))
        if self._loop is not loop:
            self._loop = loop
            self._start_soon(loop)
        return future

    def _start_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._pending:
            latest = loop.time() + GATHER_SECONDS
            loop.call_soon(self._start, loop, len(self._pending), latest)
        else:
            self._loop = None

    def _start(self, loop: asyncio.AbstractEventLoop, before: int, latest: float) -> None:
        """Commit what is pending, unless more came in the last turn of the event loop.

        Args:
            loop: runs this.
            before: number of pending writes a turn ago.
            latest: when the commit begins in any case, in seconds of the loop.
        """
        if self._closed or self._loop is not loop:
            return
        if len(self._pending) > before and loop.time() < latest:
            loop.call_soon(self._start, loop, len(self._pending), latest)
            return
        group, self._pending = self._pending, []
        running = loop.run_in_executor(self._thread, self._commit, group)
        running.add_done_callback(lambda ended: self._settle(group, ended, loop))

    def _commit(self, group: Sequence[_Write]) -> list[Any]:
        with sqlite_errors(self._path):
            try:
                return self._transaction(group, _write_together)
            except _Refused:
                return self._transaction(group, _write_one_by_one)

    def _transaction(
        self,
        group: Sequence[_Write],
        write: Callable[[sqlite3.Connection, Sequence[_Write]], list[Any]],
    ) -> list[Any]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            results = write(self._connection, group)
            self._connection.execute("COMMIT")
        finally:
            # SQLite itself has undone it if the disk was full.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        return results

    def _settle(
        self,
        group: Sequence[_Write],
        ended: asyncio.Future[list[Any]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        failure = ended.exception()
        results: list[Any] = [failure] * len(group) if failure is not None else ended.result()
        for write, result in zip(group, results, strict=True):
            if write.future.done():
                continue
            if isinstance(result, BaseException):
                write.future.set_exception(result)
            else:
                write.future.set_result(result)
        self._start_soon(loop)


def _write_together(connection: sqlite3.Connection, group: Sequence[_Write]) -> list[Any]:
    """Do the writes in few statements.

    This thread has to wait for its turn after every statement, and the event loop is busy; one
    statement for each row would take as many turns.

    Raises:
        _Refused: a row was not written that should have been.
    """
    results: list[Any] = [None] * len(group)
    rows: dict[Insert, list[Values]] = {}
    for at, write in enumerate(group):
        if isinstance(write.work, _Rows):
            rows.setdefault(write.work.insert, []).extend(write.work.values)
        else:
            _insert_all(connection, rows)
            rows = {}
            results[at] = _result_of(connection, write.work)
    _insert_all(connection, rows)
    return results


def _insert_all(connection: sqlite3.Connection, rows: Mapping[Insert, Sequence[Values]]) -> None:
    for insert, values in rows.items():
        for at in range(0, len(values), MOST_ROWS):
            part = values[at : at + MOST_ROWS]
            places = 1 << (len(part) - 1).bit_length()
            left_over = [None] * (insert.columns * (places - len(part)))
            statement = _statement(insert, places)
            written = connection.execute(statement, [*chain(*part), *left_over]).rowcount
            if insert.refusal is not None and written < len(part):
                raise _Refused


@lru_cache
def _statement(insert: Insert, places: int) -> str:
    """SQL for as many rows as there are places, or fewer: a place left over holds only NULL.

    With few different numbers of places SQLite finds the statement as it has read it before.
    """
    place = f"({', '.join('?' * insert.columns)})"
    given = f"SELECT * FROM (VALUES {', '.join([place] * places)}) WHERE column1 IS NOT NULL"
    return f"INSERT INTO {insert.table} {given} {insert.conflict}"


def _write_one_by_one(connection: sqlite3.Connection, group: Sequence[_Write]) -> list[Any]:
    """Do the writes, and find out which rows are refused."""
    return [
        _insert_singly(connection, write.work)
        if isinstance(write.work, _Rows)
        else _result_of(connection, write.work)
        for write in group
    ]


def _insert_singly(connection: sqlite3.Connection, rows: _Rows) -> ValueError | None:
    statement, refusal = _statement(rows.insert, 1), rows.insert.refusal
    left_out = [row for row in rows.values if connection.execute(statement, row).rowcount == 0]
    return refusal(left_out[0]) if left_out and refusal is not None else None


def _result_of(connection: sqlite3.Connection, action: Action) -> Any:
    try:
        return action(connection)
    except ValueError as error:
        return error
