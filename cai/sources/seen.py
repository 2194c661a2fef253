"""Which hashes have come before, however many there are.

They are kept in a temporary file of SQLite's own, so that memory does not grow with a source; the
file has no name and is gone with the object.
"""

from __future__ import annotations

import sqlite3
from typing import Self


class Seen:
    """A growing set of hashes; use it in a ``with`` block."""

    def __init__(self) -> None:
        """Begin with none."""
        # A pass that was stopped leaves its prompts to the garbage collector, in whatever thread.
        self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        # Nothing here outlives the process, so nothing need be safe from a power cut.
        self._file.execute("PRAGMA journal_mode = OFF")
        self._file.execute("PRAGMA synchronous = OFF")
        self._file.execute("CREATE TABLE seen (hash BLOB PRIMARY KEY NOT NULL) WITHOUT ROWID")
        self._file.execute("BEGIN")

    def __enter__(self) -> Self:
        """Forget all at the end of the block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Forget all."""
        self._file.close()

    def add(self, hexadecimal: str) -> bool:
        """Note a hash; gives False if it has come before.

        Args:
            hexadecimal: its digits, an even number of them.
        """
        values = (bytes.fromhex(hexadecimal),)
        return self._file.execute("INSERT OR IGNORE INTO seen VALUES (?)", values).rowcount == 1
