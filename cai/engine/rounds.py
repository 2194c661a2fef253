"""Whether more calls at once are answered faster, or only wait longer in the server's own queue."""

from __future__ import annotations

from typing import NamedTuple

GROWN = 1.5
"""Times the calls at once: after so much growth it is judged by what it has brought."""

SLOWER = 1.25
"""Times the latency: if it has risen so much, and there are no more answers per second, calls
are waiting in the server's own queue, and more of them would only wait too."""

FASTER = 1.1
"""Times the answers per second: growth that has brought so much was worth it."""

PATIENCE = 10
"""Rounds without growth after which it is tried again: the server, or what it is asked, may have
changed meanwhile."""


class Seen(NamedTuple):
    """What a round has shown: calls at once, mean seconds of an answer, answers per second."""

    limit: int
    seconds: float
    per_second: float


class Rounds:
    """Latency and speed by rounds: a round ends with the first answer to a call let in during it.

    Its answers are about as many as there are calls at once.
    """

    def __init__(self) -> None:
        """Begin before the first answer."""
        self.are_crowded = False
        self._ends_after = 0
        self._began: float | None = None
        self._limit = 0
        self._answers = 0
        self._seconds = 0.0
        self._standard: Seen | None = None
        self._crowded_rounds = 0

    def answered(self, number: int, admitted: int, limit: int, seconds: float, now: float) -> None:
        """A call was answered.

        Args:
            number: of the call.
            admitted: number of the call let in last.
            limit: calls that may be under way at once.
            seconds: that the answer took.
            now: the time in seconds.
        """
        self._answers += 1
        self._seconds += seconds
        if number <= self._ends_after:
            return
        if self._began is not None and now > self._began:
            # Those answered in a round were let in before it: under the limit at its beginning.
            per_second = self._answers / (now - self._began)
            self._judge(Seen(self._limit, self._seconds / self._answers, per_second))
        self._ends_after, self._began, self._limit = admitted, now, limit
        self._answers, self._seconds = 0, 0.0

    def _judge(self, seen: Seen) -> None:
        standard = self._standard
        if standard is None or seen.limit <= standard.limit or self._crowded_rounds >= PATIENCE:
            self._accept(seen)
        elif seen.limit >= GROWN * standard.limit:
            is_slower = seen.seconds > SLOWER * standard.seconds
            if is_slower and seen.per_second < FASTER * standard.per_second:
                self.are_crowded = True
                self._crowded_rounds += 1
            else:
                self._accept(seen)

    def _accept(self, seen: Seen) -> None:
        """Judge what comes by this round."""
        self._standard = seen
        self.are_crowded = False
        self._crowded_rounds = 0
