"""Overloads that say nothing about how many calls are too many.

A gateway may answer 503 to one request in a hundred, whatever the load. To ask it fewer calls at
once would make a run slow and the overloads no rarer. They are found out when the limit has fallen
to half, where there should be none, and there are some.
"""

from __future__ import annotations

MOSTLY = 0.5
"""Share of overloads from which a limit says nothing about one of half its size: with so many in
vain, that would still be too many. With fewer, half the calls would have been met by none."""

SEVERAL = 10
"""Calls ended that a share must be of."""

ENOUGH = 3
"""Overloads at half the limit or less that are no chance."""

HIGHEST = 0.25
"""Share of overloads that may be noise: a server that refuses more is overloaded."""

RECENT = 1 / 50
"""Weight of a call in the recent share."""

LASTING = 1 / 1000
"""Weight of a call in the share that counts as noise."""

MARGIN = 0.05
"""Share over the noise that is never heeded, for chance."""


class Noise:
    """Counts calls that ended, answered or overloaded, and finds out the share that is noise."""

    def __init__(self) -> None:
        """Begin with none."""
        self._share = 0.0
        self._recent = 0.0
        self._since = _Count()
        self._below = _Count()
        self._suspect: int | None = None

    @property
    def is_exceeded(self) -> bool:
        """True if overloads are more than noise; where there is none, each is."""
        return not self._share or self._recent > self._share + max(self._share, MARGIN)

    def ended(self, failed: bool, limit: int) -> int | None:
        """A call ended.

        Args:
            failed: True for an overload, False for an answer.
            limit: calls that may be under way at once.

        Returns:
            A limit that was lowered without need; None almost always.
        """
        self._since.add(failed)
        self._recent += RECENT * (failed - self._recent)
        if self._share:
            self._share += LASTING * (min(self._recent, 2 * self._share) - self._share)
        suspect = self._suspect
        if suspect is None or limit > suspect / 2:
            return None
        self._below.add(failed)
        if self._below.overloads < ENOUGH:
            return None
        self._suspect = None
        if self._below.share > HIGHEST:
            return None
        self._share = self._recent = self._below.share
        return suspect

    def lowered(self, limit: int) -> None:
        """The limit was lowered from this one."""
        if self._since.calls < SEVERAL:
            return
        share = self._since.share
        self._since = _Count()
        if share < MOSTLY and (self._suspect is None or limit > self._suspect):
            self._suspect = limit
            self._below = _Count()


class _Count:
    """Calls that ended, and how many of them were overloads."""

    def __init__(self) -> None:
        self.calls = 0
        self.overloads = 0

    def add(self, failed: bool) -> None:
        self.calls += 1
        self.overloads += failed

    @property
    def share(self) -> float:
        return self.overloads / self.calls
