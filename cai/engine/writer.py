"""Group commit: all that is asked for within a few milliseconds reaches the disk together.

A commit waits for the disk. Shared by many writes it costs each of them little, and a write counts
only once the commit that holds it has returned.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cai.engine.opening import sqlite_errors
from cai.errors import RunError

GATHER_SECONDS = 0.002

Action = Callable[[sqlite3.Connection], Any]


@dataclass(frozen=True)
class _Write:
    action: Action
    future: asyncio.Future[Any]


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
                it raises fails this write alone, and keeps what it wrote.

        Returns:
            A future with the action's result, done once that is on disk. It raises RunError if
            the disk or the file refused; then nothing of the write was kept.
        """
        if self._closed:
            raise RunError(f"{self._path} is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._pending.append(_Write(action, future))
        if self._loop is not loop:
            self._loop = loop
            self._start_soon(loop)
        return future

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

    def _start_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(GATHER_SECONDS, self._start, loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Commit what is pending; what is asked for meanwhile is the next group."""
        if self._closed or self._loop is not loop:
            return
        if not self._pending:
            self._loop = None
            return
        group, self._pending = self._pending, []
        running = loop.run_in_executor(self._thread, self._commit, group)
        running.add_done_callback(lambda ended: self._settle(group, ended, loop))

    def _commit(self, group: Sequence[_Write]) -> list[Any]:
        with sqlite_errors(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                results = [self._result_of(write.action) for write in group]
                self._connection.execute("COMMIT")
            finally:
                # SQLite itself has undone it if the disk was full.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        return results

    def _result_of(self, action: Action) -> Any:
        try:
            return action(self._connection)
        except ValueError as error:
            return error

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
