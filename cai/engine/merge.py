"""Join the ledgers of several runs into a new one.

Rows are copied inside SQLite, some thousands at a time, so that memory does not grow with the runs.
The new ledger gets its name when it is whole: a kill leaves none, and the same command starts anew.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from cai.engine import codec
from cai.engine.batch_records import BatchRecords
from cai.engine.opening import (
    RunLock,
    connected,
    open_reader,
    reading_address,
    sqlite_errors,
    standing_still,
)
from cai.engine.schema import calls_by_key_version, prepare, set_key_versions
from cai.errors import RunError
from cai.whole import sync

CHUNK = 10_000
"""Rows of one statement: Ctrl-C is heard between two."""

CACHE_KIBIBYTES = 65_536


@dataclass(frozen=True)
class Joined:
    """What a new ledger holds."""

    calls: int
    rows: int


def merge_ledgers(
    target: Path, sources: Sequence[Path], *, beside: Callable[[], None] = lambda: None
) -> Joined:
    """Write a new ledger with all calls and rows of others, which stay as they are.

    Of two calls with the same key the earlier is kept. Rows lose the number of their sweep, as
    those that were made outside of any.

    Args:
        target: the new ledger; its folder is there.
        sources: ledgers that no process is writing to.
        beside: writes what belongs beside the new ledger, before that gets its name.

    Raises:
        RunError: a source is in use, is damaged, or made a row differently from another; the new
            ledger is there already, or cannot be written.
    """
    new = target.with_name(f"{target.name}.new")
    with ExitStack() as held:
        held.callback(RunLock(target.with_suffix(".lock")).release)
        if leftovers := [path for path in (target, _wal(target)) if path.exists()]:
            raise RunError(f"{leftovers[0]} is there already; name a new folder to merge into")
        for source in sources:
            held.enter_context(standing_still(source))
            _refuse_open_batches(source)
        try:
            joined = _write(new, sources)
            beside()
            sync(new)
            new.rename(target)
            sync(target.parent)
        finally:
            new.unlink(missing_ok=True)
    return joined


def _refuse_open_batches(source: Path) -> None:
    """Their answers are paid for, and the new run would buy them again."""
    with closing(open_reader(source)) as reader:
        if left := BatchRecords(source, reader, None).open():
            raise RunError(
                f"{source.parent} has {len(left)} batches at a provider; collect them with the "
                "command that made the run, or give them up with `cai batches forget`"
            )


def _write(new: Path, sources: Sequence[Path]) -> Joined:
    new.unlink(missing_ok=True)
    versions: Counter[int] = Counter()
    with closing(connected(f"{new.absolute().as_uri()}?mode=rwc")) as connection:
        with sqlite_errors(new):
            # What a crash would spoil is thrown away, so nothing need be undone.
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
            prepare(connection, new)
        for source in sources:
            versions.update(_key_versions(source))
            with sqlite_errors(source):
                _copy(connection, source)
        with sqlite_errors(new):
            _count_key_versions(connection, versions)
            calls, rows = (
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("calls", "rows")
            )
    return Joined(calls, rows)


def _copy(connection: sqlite3.Connection, source: Path) -> None:
    """Copy calls and rows as they stand at one moment."""
    connection.execute("ATTACH ? AS source", (reading_address(source),))
    connection.execute("BEGIN")
    for chunk in _chunks(connection, "calls"):
        connection.execute(_COPY_CALLS, chunk)
    for chunk in _chunks(connection, "rows"):
        _refuse_other_rows(connection, chunk, source)
        connection.execute(_COPY_ROWS, chunk)
    connection.execute("COMMIT")
    connection.execute("DETACH source")


def _chunks(connection: sqlite3.Connection, table: str) -> Iterator[tuple[int, int]]:
    first, last = connection.execute(
        f"SELECT min(rowid), max(rowid) FROM source.{table}"
    ).fetchone()
    if first is not None:
        for begin in range(first, last + 1, CHUNK):
            yield begin, begin + CHUNK - 1


def _refuse_other_rows(
    connection: sqlite3.Connection, chunk: tuple[int, int], source: Path
) -> None:
    found = connection.execute(_OTHER_ROW, chunk).fetchone()
    if found is None:
        return
    stage, iteration, prompt_id, round_number, sample, status, before = found
    place = f"{iteration}:" if iteration else ""
    raise RunError(
        f"{source} made the row {place}{stage}/{prompt_id}/{round_number}/{sample} ({status}) "
        f"differently from a run named before it ({before}); look at both with `cai rows show`, "
        "and leave one of the runs out or make the row again with `cai rows rerun`"
    )


_COPY_CALLS = """INSERT INTO main.calls SELECT * FROM source.calls
    WHERE rowid BETWEEN ? AND ?
    ON CONFLICT (key) DO UPDATE SET kind = excluded.kind, model = excluded.model,
    request = excluded.request, response = excluded.response,
    input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,
    seconds = excluded.seconds, created = excluded.created
    WHERE excluded.created < calls.created"""

_COPY_ROWS = """INSERT INTO main.rows SELECT stage, iteration, prompt_id, round, sample, status,
    reason, record, calls, 0 FROM source.rows WHERE rowid BETWEEN ? AND ?
    ON CONFLICT (stage, iteration, prompt_id, round, sample) DO NOTHING"""

_OTHER_ROW = """SELECT stage, iteration, prompt_id, round, sample, theirs.status, ours.status
    FROM source.rows AS theirs
    JOIN main.rows AS ours USING (stage, iteration, prompt_id, round, sample)
    WHERE theirs.rowid BETWEEN ? AND ? AND (
        theirs.status <> ours.status OR theirs.reason <> ours.reason
        OR theirs.record IS NOT ours.record OR theirs.calls <> ours.calls)
    ORDER BY theirs.rowid LIMIT 1"""


def _key_versions(source: Path) -> dict[int, int]:
    with closing(open_reader(source)) as connection, sqlite_errors(source):
        return calls_by_key_version(connection)


def _count_key_versions(connection: sqlite3.Connection, versions: Counter[int]) -> None:
    """Count anew, for what two runs both hold counts once; not needed where all is current."""
    if set(+versions) <= {codec.KEY_VERSION}:
        return
    statement = "SELECT json_extract(request, '$.version'), count(*) FROM calls GROUP BY 1"
    counts = dict(connection.execute(statement).fetchall())
    connection.execute("BEGIN")
    set_key_versions(connection, counts)
    connection.execute("COMMIT")


def _wal(ledger: Path) -> Path:
    """SQLite's log of a ledger: left by a ledger that is gone, it would spoil a new one."""
    return ledger.with_name(f"{ledger.name}-wal")
