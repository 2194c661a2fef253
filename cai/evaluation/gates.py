"""Limits that a judge must keep: ``accuracy=0.8``, ``ece<=0.05``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cai.errors import CaiError
from cai.evaluation.intervals import Rate
from cai.evaluation.judge import JudgeFigures

FIGURES: Mapping[str, Callable[[JudgeFigures], Rate | None]] = {
    "accuracy": lambda of: of.labels.accuracy,
    "kappa": lambda of: of.kappa,
    "brier": lambda of: of.labels.brier,
    "ece": lambda of: of.labels.ece_interval,
    "flip_rate": lambda of: of.labels.flip_rate,
    "sided_flip_rate": lambda of: of.labels.sided_flip_rate,
    "unparsed_rate": lambda of: of.unparsed,
    "refusal_rate": lambda of: of.refused,
}
"""What can be limited, and where it stands."""

LEAST: Mapping[str, float] = {"kappa": -1.0}
"""What a figure cannot be under, if that is not 0; none can be over 1."""

MORE_IS_BETTER = frozenset({"accuracy", "kappa"})


@dataclass(frozen=True)
class Gate:
    """One limit: at least, where more is better, and at most elsewhere.

    Args:
        figure: a name in `FIGURES`.
        limit: what it must not be worse than.
    """

    figure: str
    limit: float

    def __str__(self) -> str:
        """Give ``accuracy >= 0.8``."""
        return f"{self.figure} {'>=' if self.figure in MORE_IS_BETTER else '<='} {self.limit:g}"

    def told(self, figures: JudgeFigures) -> str:
        """What a judge was measured to be: ``accuracy is 0.917 (0.646 to 0.985, n=12)``."""
        found = FIGURES[self.figure](figures)
        if found is None:
            return f"{self.figure} is unknown"
        ends = f"{found.low:.3f} to {found.high:.3f}"
        return f"{self.figure} is {found.value:.3f} ({ends}, n={found.n})"

    def holds(self, figures: JudgeFigures) -> bool:
        """Whether a judge keeps it; one of whom the figure is unknown does not."""
        found = FIGURES[self.figure](figures)
        if found is None:
            return False
        if self.figure in MORE_IS_BETTER:
            return found.value >= self.limit
        return found.value <= self.limit


def read_gate(text: str) -> Gate:
    """Read ``NAME=LIMIT``, or with >= or <= in the figure's own direction.

    Raises:
        CaiError: it is not of this form, no figure can be there, or it would let the worse through.
    """
    found = re.fullmatch(r"\s*(\w+)\s*(=|>=|<=)\s*(-?\d*\.?\d+)\s*", text)
    if found is None:
        raise CaiError(f"{text!r} is no gate; write a figure and its limit, as accuracy=0.8")
    name, sign, limit = found.groups()
    if name not in FIGURES:
        raise CaiError(f"no gate is for {name!r}; choose from {', '.join(FIGURES)}")
    gate, least = Gate(name, float(limit)), LEAST.get(name, 0.0)
    if not least <= gate.limit <= 1:
        raise CaiError(f"{text!r}: {name} lies between {least:g} and 1; write a limit from there")
    if sign not in ("=", ">=" if name in MORE_IS_BETTER else "<="):
        raise CaiError(f"{text!r} would let the worse through; write '{gate}', or {name}={limit}")
    return gate
