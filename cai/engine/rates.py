"""How much may be asked per minute: by a limit that a person gives, and by what headers tell."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from cai.models.limits import Announced

MINUTE = 60.0

CREDIT = 1.0
"""Seconds of the limit that may be asked for at once after a rest. Asking is otherwise spread
evenly: many providers count by the second what they state by the minute."""

SLICE = 0.1
"""Seconds whose amounts are remembered as one, so that a minute is 600 numbers at most."""


SOON = 0.001
"""Seconds for which nobody waits: a provider's figures are not so exact."""


@dataclass(slots=True)
class Slice:
    """What was taken from `first` to `last`, in seconds of the clock; `gone` after a minute."""

    first: float
    last: float
    amount: float
    gone: bool = False


class Rate(Protocol):
    """A limit of one kind. Amounts are requests or tokens, times are seconds of one clock."""

    def wait(self, amount: float, now: float) -> float:
        """Seconds until the amount may be taken, as far as is known now; 0 if it may be now."""
        ...

    def take(self, amount: float, now: float) -> Slice | None:
        """Count an amount as taken now."""
        ...

    def correct(self, taken: Slice | None, difference: float) -> None:
        """Count more or less than was taken, once the real amount is known."""
        ...


class PerMinute:
    """No more than a limit in any 60 seconds, and spread evenly over them.

    An amount above the whole limit is let through alone, after a minute in which nothing was: it
    could never be otherwise.

    Args:
        limit: above 0.
    """

    def __init__(self, limit: float) -> None:
        """Begin with nothing taken."""
        self.limit = limit
        self._slices: deque[Slice] = deque()
        self._sum = 0.0
        self._next = float("-inf")

    def wait(self, amount: float, now: float) -> float:
        """Seconds until the amount may be taken."""
        self._forget(now)
        evenly = max(0.0, self._next - now)
        if self._slices and self._sum + amount > self.limit:
            return max(evenly, self._slices[0].last + MINUTE - now)
        return evenly

    def take(self, amount: float, now: float) -> Slice:
        """Count an amount as taken now."""
        self._next = max(self._next, now - CREDIT) + amount * MINUTE / self.limit
        self._sum += amount
        latest = self._slices[-1] if self._slices else None
        if latest is not None and now - latest.first < SLICE:
            latest.last = now
            latest.amount += amount
            return latest
        self._slices.append(Slice(now, now, amount))
        return self._slices[-1]

    def correct(self, taken: Slice | None, difference: float) -> None:
        """Count more or less than was taken; what lies over a minute back matters no more."""
        if taken is None or taken.gone:
            return
        taken.amount += difference
        self._sum += difference
        self._next += difference * MINUTE / self.limit

    def _forget(self, now: float) -> None:
        while self._slices and now >= self._slices[0].last + MINUTE:
            past = self._slices.popleft()
            past.gone = True
            self._sum -= past.amount


class AnnouncedRate:
    """A limit as the provider's last answer told it, less what was taken since.

    What remains grows evenly until all of it is there again.

    Args:
        announced: what the answer told.
        since: what was taken after the request that was answered, and so may not be counted yet.
        now: when it was told.
    """

    def __init__(self, announced: Announced, since: float, now: float) -> None:
        """Believe the answer."""
        self._limit = announced.limit
        self._left = announced.remaining - since
        self._noted = now
        used = announced.limit - announced.remaining
        # Nothing used tells no speed: take the limit for one of a minute, the common case.
        timed = used > 0 and announced.reset > 0
        self._per_second = used / announced.reset if timed else announced.limit / MINUTE

    def wait(self, amount: float, now: float) -> float:
        """Seconds until so much is left, or all if the amount is more than the limit."""
        missing = min(amount, self._limit) - self._left_at(now)
        seconds = missing / self._per_second
        return seconds if seconds > SOON else 0.0

    def take(self, amount: float, now: float) -> None:
        """Count an amount as taken now."""
        self._left = self._left_at(now) - amount
        self._noted = now

    def correct(self, taken: Slice | None, difference: float) -> None:
        """Do nothing: the next answer tells what the provider counts."""

    def _left_at(self, now: float) -> float:
        return min(self._limit, self._left + (now - self._noted) * self._per_second)
