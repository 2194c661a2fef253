"""How many calls a model is asked at once: fewer when it is overloaded, slowly more when not.

Additive increase, multiplicative decrease (Chiu and Jain 1989), with TCP's slow start (Jacobson
1988): it doubles with every round of answers until an overload has shown how much is too much, and
then adds one call a round. Near the number that was last too much it adds one in ten rounds, so
that few calls are spent on finding it again. Overloads that come however few calls are under way
are found out and not heeded (`cai.engine.noise`), and where more calls at once only take longer,
there is no growth (`cai.engine.rounds`).
"""

from __future__ import annotations

import math

from cai.engine.noise import Noise
from cai.engine.rounds import Rounds

DECREASE = 0.7
"""What is left of the calls at once after an overload."""

CLOSE = 1.0
"""Calls: so near to the number that was last too much, growth is careful."""

CAREFUL = 0.1
"""Of the growth elsewhere."""


class Concurrency:
    """The most calls at once to one model, at least 1.

    Calls are numbered in the order in which they are let in, from 1.

    Args:
        start: calls at once before anything is known.
        most: never more than so many; None for any number.
    """

    def __init__(self, start: int, most: int | None = None) -> None:
        """Begin at the start."""
        self._most = math.inf if most is None else float(most)
        self._limit = min(float(start), self._most)
        self._too_many = math.inf
        self._slow_from = math.inf
        self._lowered_at = 0
        self._full_at = 0
        self._answered_since = False
        self._rounds = Rounds()
        self._noise = Noise()

    @property
    def limit(self) -> int:
        """Calls that may be under way at once now."""
        return int(self._limit)

    @property
    def was_lowered(self) -> bool:
        """True once the model has been overloaded."""
        return self._lowered_at > 0

    @property
    def is_heeding(self) -> bool:
        """False while overloads are no more than those that come whatever the load."""
        return self._noise.is_exceeded

    def let_in(self, number: int, active: int) -> None:
        """A call was let in.

        Args:
            number: of the call.
            active: calls under way, with this one.
        """
        if active >= self.limit:
            self._full_at = number

    def answered(self, number: int, admitted: int, seconds: float, now: float) -> None:
        """A call was answered.

        Args:
            number: of the call.
            admitted: number of the call let in last.
            seconds: that the answer took.
            now: the time in seconds.
        """
        self._rounds.answered(number, admitted, self.limit, seconds, now)
        if number <= self._lowered_at:
            return
        self._answered_since = True
        self._heed(failed=False)
        if self._rounds.are_crowded:
            self._slow_from = min(self._slow_from, self._limit)
        # If there were never so many since it was let in, its answer says nothing about the limit.
        elif self._full_at >= number:
            self._limit = min(self._most, self._limit + self._step())

    def overloaded(self, number: int, active: int, admitted: int) -> bool:
        """A call failed because there were too many.

        Calls that were under way when the limit was lowered say nothing about the lower limit, so
        of each round only the first failure counts.

        Args:
            number: of the call.
            active: calls under way, with this one.
            admitted: number of the call let in last.

        Returns:
            True if the limit was lowered, or stood at 1 already.
        """
        if number <= self._lowered_at:
            return False
        self._heed(failed=True)
        if not self._noise.is_exceeded:
            return False
        reached = min(self._limit, active)
        self._limit = max(1.0, reached * DECREASE)
        # Failures alone, as of a server that is away, do not tell how many are too many.
        if self._answered_since:
            self._too_many = reached
            self._slow_from = self._limit
        self._noise.lowered(int(reached))
        self._lowered_at = admitted
        self._answered_since = False
        return True

    def _heed(self, *, failed: bool) -> None:
        """Count how a call ended; if overloads turn out to be noise, take their lowering back."""
        if (innocent := self._noise.ended(failed, self.limit)) is not None:
            self._limit = min(self._most, max(self._limit, float(innocent)))
            self._too_many = self._slow_from = math.inf

    def _step(self) -> float:
        if self._limit < self._slow_from:
            return 1.0
        is_close = abs(self._limit - self._too_many) <= CLOSE
        return (CAREFUL if is_close else 1.0) / self._limit
