"""How figures of two runs are written, and what changed between them, each in its own unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cai.engine.standing import dollars
from cai.evaluation.intervals import Rate
from cai.report.wording import decimal, duration, interval, number, percent, points


@dataclass(frozen=True)
class Unit:
    """How figures of one kind are written.

    Args:
        value: of a figure.
        change: of a difference of two, with its sign; 0 without.
        of_change: a word behind the change, where that is in another unit than the figures.
        between: of an interval; as its two ends are by themselves if None.
    """

    value: Callable[[float], str]
    change: Callable[[float], str]
    of_change: str = ""
    between: Callable[[Rate], str] | None = None

    def range_of(self, figure: Rate) -> str:
        """The interval of a figure."""
        if self.between is not None:
            return self.between(figure)
        return f"{self.value(figure.low)} to {self.value(figure.high)}"

    def range_of_change(self, change: Rate) -> str:
        """The interval of a difference."""
        return f"{self.change(change.low)} to {self.change(change.high)}"


def _signed(write: Callable[[float], str]) -> Callable[[float], str]:
    """Write a size with its sign; what would read 0 has none."""

    def signed(change: float) -> str:
        size = write(abs(change))
        if not any(digit in size for digit in "123456789"):
            return size
        return f"{'+' if change > 0 else '−'}{size}"

    return signed


def _mean(digits: int) -> Unit:
    def write(value: float) -> str:
        return decimal(value, digits)

    return Unit(write, _signed(write))


SHARE = Unit(percent, points, "points", interval)
ELO = _mean(0)
SCORE = _mean(2)
"""Of a scale of some steps, such as harmfulness from 0 to 4."""
FRACTION = _mean(3)
"""Of what lies mostly under 1 and is no share, such as a Brier score; and the signs of style."""
COUNT = Unit(number, _signed(number))
SECONDS = Unit(duration, _signed(duration))
DOLLARS = Unit(dollars, _signed(dollars))
