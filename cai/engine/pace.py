"""How fast a stage goes now, and where that leads: time left and cost in the end."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from cai.engine.tally import Counts

RATE_SECONDS = 10.0
"""Rates are those of so many last seconds."""

AHEAD_SECONDS = 60.0
"""What is to come is judged by so many last seconds: calls that an earlier run had bought pass in
a moment and cost nothing, so the whole time since the beginning would promise too much."""


class Rates(NamedTuple):
    """Per second, over the last `RATE_SECONDS`; all zero before any time has passed.

    Args:
        calls: calls made.
        input_tokens: tokens read.
        output_tokens: tokens written.
    """

    calls: float = 0.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0


class Outlook(NamedTuple):
    """What is to come, as far as can be told.

    Args:
        seconds: until the end; None if nothing moves or nothing has ended yet.
        cost: of the whole stage in dollars, never less than so far; None if unknown.
    """

    seconds: float | None = None
    cost: float | None = None


class Pace:
    """Remembers a stage's counts over the last minute.

    Args:
        began: when the stage began, in seconds of any clock that only goes forward.
    """

    def __init__(self, began: float) -> None:
        """Begin with nothing counted."""
        self._first = (began, Counts())
        self._moments = deque([self._first])

    def note(self, now: float, counts: Counts) -> None:
        """Remember the counts of a moment; more than one a second is not kept."""
        if now - self._moments[-1][0] >= 1.0:
            self._moments.append((now, counts))
        while len(self._moments) > 1 and self._moments[1][0] <= now - AHEAD_SECONDS:
            self._moments.popleft()

    def rates(self, now: float, counts: Counts) -> Rates:
        """Calls made and tokens per second, of late."""
        return rates_of(*self._since(now, RATE_SECONDS, counts))

    def outlook(self, now: float, counts: Counts, share: float) -> Outlook:
        """Time left and cost in the end, if what is to come goes as the last minute went.

        With calls c seen at a share s of the work, c·(1 - s)/s are left.

        Args:
            now: the moment.
            counts: calls so far.
            share: the part of the work that is done, in [0, 1]; 0 if it cannot be told.
        """
        if share <= 0:
            return Outlook()
        seen = counts.made + counts.cached
        to_come = (1 - share) / share
        if not seen:
            return Outlook((now - self._first[0]) * to_come, counts.cost)
        seconds, recent = self._since(now, AHEAD_SECONDS, counts)
        answered = recent.made + recent.cached
        cost_of_all = None if counts.cost is None else counts.cost * (1 + to_come)
        if not answered:
            return Outlook(None, cost_of_all)
        left = seen * to_come
        if counts.cost is None or recent.cost is None:
            return Outlook(left * seconds / answered, None)
        return Outlook(left * seconds / answered, counts.cost + recent.cost / answered * left)

    def _since(self, now: float, seconds: float, counts: Counts) -> tuple[float, Counts]:
        """Seconds that passed since a moment so long ago or as far back as known, and counts."""
        moment = self._moments[0]
        for later in self._moments:
            if later[0] > now - seconds:
                break
            moment = later
        return now - moment[0], counts.since(moment[1])


def rates_of(seconds: float, counts: Counts) -> Rates:
    """Means of what was counted in so many seconds; zero if no time has passed."""
    if seconds <= 0:
        return Rates()
    tokens = (counts.input_tokens / seconds, counts.output_tokens / seconds)
    return Rates(counts.made / seconds, *tokens)
