"""Open a ledger's file: its lock, its connections, and SQLite's errors in our words.

One process at a time may write to a run; any number may read. The lock is the kernel's, so that it
is gone when its process is, however that died.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from cai.engine.schema import check_version, prepare
from cai.errors import RunError

LONGEST_LOOK = 5.0
"""Seconds for which `cai runs status` and its like may share the lock, on a machine however busy,
before a run that is to begin is refused."""
LOOK_PAUSE = 0.02
"""Seconds between two tries."""


class RunLock:
    """The right to write to a run, or a model, held from the making of this object to its release.

    Args:
        path: of the lock's file.
        folder: what is written to; the lock's own folder if not given.
    """

    def __init__(self, path: Path, folder: Path | None = None) -> None:
        """Take the lock, and note in its file whose it is.

        Raises:
            RunError: another process has it, or the file cannot be written.
        """
        self._path, folder = path, folder or path.parent
        self._file = _open_lock(path)
        _take(self._file, folder)
        while not _stands_at(self._file, path):
            # Whoever had it has removed it since.
            self._file.close()
            self._file = _open_lock(path)
            _take(self._file, folder)
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Let others write."""
        self._file.close()

    def remove(self) -> None:
        """Let others write, and leave no file behind."""
        self._path.unlink()
        self._file.close()


@contextmanager
def standing_still(ledger: Path) -> Generator[None, None, None]:
    """Keep every other process from writing to a run inside the block; needs no right to write.

    Args:
        ledger: the run's ledger. Where no lock lies beside it, none of its writers can be alive.

    Raises:
        RunError: another process is writing.
    """
    path = ledger.with_suffix(".lock")
    if not path.is_file():
        yield
        return
    with path.open(encoding="utf-8") as file:
        _flock(file, fcntl.LOCK_SH, path.parent)
        yield


def open_writer(path: Path) -> sqlite3.Connection:
    """A connection that writes; the file and its tables are made if they are not there.

    Each commit is on disk before it returns (WAL with synchronous=FULL), so that an answer
    outlives a power cut too. A ledger of an older version is brought up to date.

    Raises:
        RunError: the file cannot be written, is no ledger, or is of an unknown version; it is
            left as it was.
    """
    with sqlite_errors(path):
        connection = connected(_address(path, "rwc"))
        try:
            connection.execute("PRAGMA synchronous = FULL")
            prepare(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
        except BaseException:
            connection.close()
            raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads; it sees what is committed, also while another one writes.

    Raises:
        RunError: there is no such file, it is no ledger, or it is of an unknown version.
    """
    if not path.is_file():
        raise RunError(f"{path} is not there; name a folder that `cai run` has written")
    with sqlite_errors(path):
        connection = connected(reading_address(path))
        try:
            connection.execute("PRAGMA query_only = ON")
            check_version(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def connected(address: str) -> sqlite3.Connection:
    """A connection in autocommit, for any thread, that waits for another one's commit."""
    return sqlite3.connect(
        address, uri=True, isolation_level=None, check_same_thread=False, timeout=30
    )


def reading_address(path: Path) -> str:
    """The address by which a ledger is opened to be read; a look leaves all files as they were.

    SQLite makes a WAL and its index even to read. It takes them away only if it may write, so a
    ledger without a WAL is opened for writing. One that is there, of a run under way or a killed
    one, is only read: with the right to write, its content would be moved into the ledger.
    """
    writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    if path.with_name(f"{path.name}-wal").exists():
        return _address(path, "ro")
    return _address(path, "rw" if writable else "ro&immutable=1")


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


def _open_lock(path: Path) -> TextIO:
    try:
        return path.open("a+", encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path.parent} cannot be written to: {error.strerror}") from error


def _stands_at(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _take(file: TextIO, folder: Path) -> None:
    """Take the lock of a run; whoever only looks at it shares it, and is waited for."""
    until = time.monotonic() + LONGEST_LOOK
    while time.monotonic() < until:
        if _has_locked(file, fcntl.LOCK_EX):
            return
        if not _has_locked(file, fcntl.LOCK_SH):
            break  # a lock that cannot be shared is a writer's
        fcntl.flock(file, fcntl.LOCK_UN)
        time.sleep(LOOK_PAUSE)
    _flock(file, fcntl.LOCK_EX, folder)


def _has_locked(file: TextIO, kind: int) -> bool:
    """Try to lock a file."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _flock(file: TextIO, kind: int, folder: Path) -> None:
    """Lock a file, or close it and say who has it."""
    if _has_locked(file, kind):
        return
    file.seek(0)
    holder = file.read().strip()
    file.close()
    raise RunError(
        f"{folder} is in use by process {holder or 'unknown'}; wait until it has "
        "finished, stop it, or name another folder"
    )


def _address(path: Path, mode: str) -> str:
    return f"file:{quote(str(path.absolute()))}?mode={mode}"
