"""Which process works on a run, asked without disturbing it."""

from __future__ import annotations

import fcntl
from pathlib import Path

from cai.errors import RunError


def holder_of(ledger: Path) -> str | None:
    """The id of the process that has the lock of a run; None if no process has it.

    The lock is looked at for a moment and shared with whoever else looks. Nothing is written, so
    that a folder that can only be read will do.

    Args:
        ledger: the run's ledger; where no lock lies beside it, none of its writers can be alive.

    Raises:
        RunError: the lock cannot be looked at.
    """
    path = ledger.with_suffix(".lock")
    if not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read().strip() or "unknown"
    except OSError as error:
        raise RunError(f"{path} cannot be looked at: {error.strerror}") from error
    return None
