"""The ledger of a run: every call that was bought, and how every row ended.

Calls are the truth: appended, never changed or deleted. Rows are derived from them: rewritten when
their stage runs again, removed when that no longer makes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cai.engine import codec
from cai.engine.batch_records import BatchRecords
from cai.engine.known import KnownKeys
from cai.engine.opening import RunLock, open_reader, open_writer, sqlite_errors
from cai.engine.purchases import Purchases
from cai.engine.row_table import REMOVE, ROWS, ROWS_MADE, read_row, row_place, row_values
from cai.engine.schema import calls_by_key_version
from cai.engine.sweeps import next_sweep, prune
from cai.engine.writer import Insert, Writer
from cai.errors import RunError
from cai.records import BY_FALLBACK, Completion, Row, RowKey, RowStatus, Usage, Weighed


@dataclass(frozen=True)
class StoredCall:
    """One bought call.

    Args:
        key: hash of the request.
        kind: "complete" or "weigh".
        model: identity of the model that was asked.
        request: canonical JSON of all that determines the answer.
        response: JSON of the answer.
        usage: tokens of the call.
        seconds: how long the answer took.
        created: when that came, in seconds since 1970.
        answer: what `response` reads back as, if that is at hand.
    """

    key: str
    kind: str
    model: str
    request: str
    response: str
    usage: Usage
    seconds: float
    created: float
    answer: Completion | Weighed | None = field(default=None, compare=False, repr=False)


class Ledger:
    """Owns a ledger's connections, its writing thread and its lock; close it after use."""

    def __init__(self, path: Path, *, read_only: bool = False, reuse: Sequence[Path] = ()) -> None:
        """As `open`."""
        self.path = path
        self.purchases: Purchases[StoredCall] = Purchases()
        self._writer: Writer | None = None
        with ExitStack() as opened:
            if not read_only:
                opened.callback(RunLock(path.with_suffix(".lock")).release)
                self._writer = Writer(open_writer(path), path)
                opened.callback(self._writer.close)
            self._reader = opened.enter_context(closing(open_reader(path)))
            self.batches = BatchRecords(path, self._reader, self._writer)
            self._reuse = [
                opened.enter_context(closing(Ledger(other, read_only=True))) for other in reuse
            ]
            self._opened = opened.pop_all()

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False, reuse: Sequence[Path] = ()) -> Self:
        """Open the ledger of a run, making it if it is to be written and is not there.

        Args:
            path: the SQLite file; its folder is there.
            read_only: True to look at a run that another process may be writing.
            reuse: other runs' ledgers, whose answers count as bought.

        Raises:
            RunError: another process writes to this run; the folder cannot be written or the file
                read; the file is no ledger, or of another version.
        """
        return cls(path, read_only=read_only, reuse=reuse)

    def close(self) -> None:
        """Write what was asked for, close all connections and release the lock.

        Raises:
            RunError: the disk is full or refuses.
        """
        self._opened.close()

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def call(self, key: str) -> StoredCall | None:
        """The call of a key, if its answer is on disk here."""
        if self._writer is not None and not self._known.may_hold(key):
            return None
        with sqlite_errors(self.path):
            found = self._reader.execute(_CALL, (key,)).fetchone()
        return None if found is None else _stored(found)

    def call_elsewhere(self, key: str) -> StoredCall | None:
        """The call of a key in one of the ledgers to reuse, the first that has it."""
        return next((call for other in self._reuse if (call := other.call(key))), None)

    async def put_call(self, call: StoredCall) -> None:
        """Keep a call; returns once it is on disk. A key that is there stays as it was.

        Raises:
            RunError: the disk is full or refuses, or the ledger is only read.
        """
        values = (
            *(call.key, call.kind, call.model, call.request, call.response),
            *(call.usage.input_tokens, call.usage.output_tokens, call.seconds, call.created),
        )
        self._known.add(call.key)
        await self._writing.insert(_CALLS, (values,))

    async def put_rows(self, rows: Iterable[Row], sweep: int = 0) -> None:
        """Keep how rows ended, in place of what was kept for them before; returns once on disk.

        Args:
            rows: the rows.
            sweep: the sweep that makes them; 0 outside of any.

        Raises:
            RunError: the disk is full or refuses, or the ledger is only read.
            ValueError: the same sweep had already made one of them; its first end is kept.
        """
        await self.queue_rows(rows, sweep)

    def queue_rows(self, rows: Iterable[Row], sweep: int = 0) -> asyncio.Future[None]:
        """As `put_rows`, but not waiting: the future is done once the rows are on disk."""
        return self._writing.insert(ROWS_MADE, [row_values(row, sweep) for row in rows])

    async def begin_sweep(self) -> int:
        """Number a new pass over some stages; `prune` removes what it has not made."""
        return await self._writing.submit(next_sweep)

    async def prune(self, stages: Collection[str], sweep: int, iteration: int | None = None) -> int:
        """Remove rows that a completed sweep over their stages has not made.

        Args:
            stages: those that the sweep has made completely.
            sweep: its number.
            iteration: of online training that the sweep was of; rows of others stay. None: it was
                of all there are.

        Returns:
            The number of rows removed.
        """
        named = list(stages)
        return await self._writing.submit(
            lambda connection: prune(connection, named, sweep, iteration)
        )

    async def remove(self, keys: Iterable[RowKey], sweep: int) -> None:
        """Remove those of the named rows that a completed sweep over their items has not made."""
        values = [(*row_place(key), sweep) for key in keys]
        await self._writing.submit(lambda connection: connection.executemany(REMOVE, values))

    async def drop_iterations(self, first: int) -> None:
        """Remove the rows of iterations of online training from one on; their calls stay."""
        statement = "DELETE FROM rows WHERE iteration >= ?"
        await self._writing.submit(lambda connection: connection.execute(statement, (first,)))

    async def flush(self) -> None:
        """Wait until everything asked for so far is on disk.

        Raises:
            RunError: the disk is full or refuses.
        """
        await self._writing.submit(lambda connection: None)

    def rows(
        self,
        stage: str | None = None,
        status: RowStatus | None = None,
        prompt_id: str | None = None,
    ) -> Iterator[Row]:
        """Stream rows that are on disk, ordered by stage, iteration, prompt, round and sample.

        Args:
            stage: only rows of this stage.
            status: only rows that ended so.
            prompt_id: only rows of this prompt.
        """
        wanted = {"stage": stage, "status": status, "prompt_id": prompt_id}
        tests = [f"{name} = :{name}" for name, value in wanted.items() if value is not None]
        statement = ROWS.format(where=f"WHERE {' AND '.join(tests)}" if tests else "")
        # A connection of its own: the reader of calls goes on while this one stands in the middle.
        with closing(open_reader(self.path)) as connection, sqlite_errors(self.path):
            for found in connection.execute(statement, wanted):
                yield read_row(found)

    def counts(self) -> dict[tuple[str, RowStatus], int]:
        """How many rows there are, by stage and status."""
        found = self._read("SELECT stage, status, count(*) FROM rows GROUP BY stage, status")
        return {(stage, status): number for stage, status, number in found}

    def counts_by_fallback(self) -> dict[str, int]:
        """How many "ok" rows of each stage are there only because the fallback answered."""
        return dict(self._read(_BY_FALLBACK, BY_FALLBACK))

    def call_count(self) -> int:
        """How many calls there are."""
        return self._read("SELECT count(*) FROM calls")[0][0]

    def calls_of_other_keys(self) -> int:
        """How many calls, here and in the ledgers to reuse, have keys of another version.

        They are kept, but are not found again: what they answered is bought anew.
        """
        with sqlite_errors(self.path):
            counts = calls_by_key_version(self._reader)
        here = sum(number for version, number in counts.items() if version != codec.KEY_VERSION)
        return here + sum(other.calls_of_other_keys() for other in self._reuse)

    @cached_property
    def _known(self) -> KnownKeys:
        with sqlite_errors(self.path):
            return KnownKeys(key for (key,) in self._reader.execute("SELECT key FROM calls"))

    def _read(self, statement: str, *values: Any) -> list[Any]:
        with sqlite_errors(self.path):
            return self._reader.execute(statement, values).fetchall()

    @property
    def _writing(self) -> Writer:
        if self._writer is None:
            raise RunError(f"{self.path} was opened for reading only")
        return self._writer


_CALL = """SELECT key, kind, model, request, response, input_tokens, output_tokens, seconds, created
    FROM calls WHERE key = ?"""

_CALLS = Insert("calls", 9, "ON CONFLICT (key) DO NOTHING")

_BY_FALLBACK = """SELECT stage, count(*) FROM rows WHERE status = 'ok' AND reason = ?
    GROUP BY stage"""


def _stored(found: Sequence[Any]) -> StoredCall:
    key, kind, model, request, response, read, written, seconds, created = found
    return StoredCall(key, kind, model, request, response, Usage(read, written), seconds, created)
