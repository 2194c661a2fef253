"""From pairs with a probability to pairs with a winner, for programs that know no soft labels.

A label of exactly one half names no winner: such pairs are left out and counted, and so are those
whose margin is smaller than asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cai.errors import CaiError

TIE = "a tie: both replies are as likely to be the better one"

ROUNDING = 2.0**-50
"""A label of 0.6 has a margin of 0.2, which binary numbers do not quite say."""

Turns = Sequence[Mapping[str, str]]
"""Messages, each with ``role`` and ``content``."""


@dataclass(frozen=True)
class HardPair:
    """Two replies, of which the first is taken for the better one.

    Args:
        prompt: the conversation that both answer.
        chosen: the likelier one to be better, one turn of the assistant's.
        rejected: the other.
        p_chosen: the label that it comes from, in (0.5, 1].
        about: further columns of the data set, such as ``source`` and ``principle``.
    """

    prompt: Turns
    chosen: Turns
    rejected: Turns
    p_chosen: float
    about: Mapping[str, Any]


@dataclass
class Hardening:
    """Makes hard pairs of soft ones, and counts those that it leaves out.

    Args:
        minimum_margin: least P(chosen is better) − P(rejected is better), in [0, 1].

    Raises:
        CaiError: there is no such margin.
    """

    minimum_margin: float = 0.0
    left_out: Counter[str] = field(default_factory=Counter[str])

    def __post_init__(self) -> None:
        """Check the margin."""
        if not 0 <= self.minimum_margin <= 1:
            raise CaiError(
                f"a margin is P(chosen) − P(rejected), from 0 to 1, not {self.minimum_margin:g}"
            )

    def pairs(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[HardPair]:
        """The pairs that have a winner.

        Args:
            rows: of the preference data set, see `cai.datasets.preferences`.
        """
        for row in rows:
            margin = 2 * row["p_chosen"] - 1
            if margin == 0:
                self.left_out[TIE] += 1
            elif margin < self.minimum_margin - ROUNDING:
                self.left_out[f"a margin under {self.minimum_margin:g}"] += 1
            else:
                yield HardPair(row["prompt"], row["chosen"], row["rejected"], row["p_chosen"], row)
