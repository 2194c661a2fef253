"""Which keys a ledger surely lacks, told without asking the disk (Bloom 1970).

Most calls of a run are new, and to find that out from SQLite, after every commit anew, costs as
much as all else that the ledger does for a call.
"""

from __future__ import annotations

from collections.abc import Iterable

PLACES = 1 << 26
"""Bits: 8 MiB, whatever the number of keys. Of a million keys one in a thousand that are not there
is looked up all the same, and of ten million one in fifteen."""


class KnownKeys:
    """A set of keys that may take a key for one of its own, but never denies one.

    Args:
        keys: the first ones.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        """Note the keys."""
        self._bits = bytearray(PLACES // 8)
        for key in keys:
            self.add(key)

    def add(self, key: str) -> None:
        """Note a key."""
        hashed = hash(key)
        for place in (hashed % PLACES, (hashed >> 32) % PLACES):
            self._bits[place >> 3] |= 1 << (place & 7)

    def may_hold(self, key: str) -> bool:
        """False if the key was never added."""
        hashed = hash(key)
        first, second = hashed % PLACES, (hashed >> 32) % PLACES
        bits = self._bits
        return bool(bits[first >> 3] >> (first & 7) & bits[second >> 3] >> (second & 7) & 1)
