"""Open a ledger's file: its lock, its schema and version, and SQLite's errors in our words.

One process at a time may write to a run; any number may read. The lock is the kernel's, so that it
is gone when its process is, however that died.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from cai.errors import RunError

SCHEMA_VERSION = 1

_SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE calls (
        key TEXT PRIMARY KEY NOT NULL,
        kind TEXT NOT NULL,
        model TEXT NOT NULL,
        request TEXT NOT NULL,
        response TEXT NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        seconds REAL NOT NULL,
        created REAL NOT NULL
    )""",
    """CREATE TABLE rows (
        stage TEXT NOT NULL,
        iteration INTEGER NOT NULL,
        prompt_id TEXT NOT NULL,
        round INTEGER NOT NULL,
        sample INTEGER NOT NULL,
        status TEXT NOT NULL,
        reason TEXT NOT NULL,
        record TEXT,
        calls TEXT NOT NULL,
        sweep INTEGER NOT NULL,
        PRIMARY KEY (stage, iteration, prompt_id, round, sample)
    )""",
    "CREATE INDEX rows_by_status ON rows (stage, status, iteration, prompt_id, round, sample)",
    f"INSERT INTO meta VALUES ('schema', {SCHEMA_VERSION}), ('sweep', 0)",
)


class RunLock:
    """The right to write to a run, held from the making of this object to `release`."""

    def __init__(self, path: Path) -> None:
        """Take the lock, and note in its file whose it is.

        Raises:
            RunError: another process has it, or the file cannot be written.
        """
        try:
            self._file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise RunError(f"{path.parent} cannot be written to: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.seek(0)
            holder = self._file.read().strip()
            self._file.close()
            raise RunError(
                f"{path.parent} is in use by process {holder or 'unknown'}; wait until it has "
                "finished, stop it, or name another run folder"
            ) from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Let others write."""
        self._file.close()


def open_writer(path: Path) -> sqlite3.Connection:
    """A connection that writes; the file and its tables are made if they are not there.

    Each commit is on disk before it returns (WAL with synchronous=FULL), so that an answer
    outlives a power cut too.

    Raises:
        RunError: the file cannot be written, is no ledger, or is of another version.
    """
    with sqlite_errors(path):
        connection = _connect(path, "rwc")
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
            if not _tables(connection):
                _create(connection)
            _check_version(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads; it sees what is committed, also while another one writes.

    Raises:
        RunError: there is no such file, it is no ledger, or it is of another version.
    """
    if not path.is_file():
        raise RunError(f"{path} is not there; name a folder that `cai run` has written")
    with sqlite_errors(path):
        connection = _connect(path, "ro" if _can_share(path) else "ro&immutable=1")
        try:
            _check_version(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def sqlite_errors(path: Path) -> Generator[None, None, None]:
    """Turn what SQLite raises inside the block into a `RunError` that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise as_run_error(error, path) from error


def as_run_error(error: sqlite3.Error, path: Path) -> RunError:
    """What SQLite says of a file, with what to do about it."""
    kept = "what was stored before is kept, and the same command goes on from there"
    if "full" in str(error) or "disk I/O" in str(error):
        return RunError(f"{path} cannot grow ({error}); make room on the disk: {kept}")
    if "readonly" in str(error) or "unable to open" in str(error):
        return RunError(f"{path} cannot be written or opened ({error}); allow it: {kept}")
    if isinstance(error, sqlite3.OperationalError):
        return RunError(f"{path} cannot be used: {error}")
    return RunError(f"{path} is no ledger, or is damaged: {error}; name another run folder")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=30,
    )


def _can_share(path: Path) -> bool:
    """False in a folder that cannot be written, where SQLite could not make its shared index.

    Such a file has no writer, and without a WAL beside it nothing is missing from it.
    """
    return os.access(path.parent, os.W_OK) or path.with_name(f"{path.name}-wal").exists()


def _tables(connection: sqlite3.Connection) -> frozenset[str]:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return frozenset(name for (name,) in found)


def _create(connection: sqlite3.Connection) -> None:
    """All tables in one transaction: a kill leaves either none or a whole ledger."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute("COMMIT")


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    if "meta" not in _tables(connection):
        raise RunError(f"{path} is no ledger: it has no table meta; name another run folder")
    found = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    version = found[0] if found else None
    if version != SCHEMA_VERSION:
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        fix = "update constitutional-ai" if newer else "start again in another run folder"
        raise RunError(
            f"{path} has schema version {version}, and this program reads {SCHEMA_VERSION}; {fix}"
        )
