"""How far two labellers agree: a judge and people, two judges, or one judge under two principles.

What is compared is the side that each of them takes of a pair, or the option that it chooses.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

from cai.evaluation.intervals import Rate, share_by_case

REDUNDANT = 0.9
"""Two principles that surely agree on more of the pairs than this say the same."""

CONTRADICTING = 0.5
"""Two that surely agree on fewer than this contradict each other: dice would agree more often."""


def cohens_kappa(
    choices: Sequence[tuple[Hashable, Hashable]], cases: Sequence[Hashable] | None = None
) -> Rate | None:
    """Agreement beyond chance, with its 95 % interval (Cohen 1960).

        κ = (p_o − p_e) / (1 − p_e)

    p_o is the share of equal choices, p_e = Σ_k p_1(k) p_2(k) that of two labellers who choose by
    their own frequencies alone. As in Cohen's standard error p_o alone varies; its interval has
    a width where all choices are equal (`cai.evaluation.intervals.share_by_case`).

    Args:
        choices: what both labellers chose, item by item; of any number of categories.
        cases: names what each item is about, if not all are independent.

    Returns:
        In [−1, 1], 0 for chance; None for no item, or if both always chose one and the same.
    """
    n = len(choices)
    same = [float(first == second) for first, second in choices]
    equal = share_by_case(zip(range(n) if cases is None else cases, same, strict=True))
    if equal is None:
        return None
    firsts, seconds = Counter(one for one, _ in choices), Counter(one for _, one in choices)
    chance = math.fsum(firsts[name] * seconds[name] for name in firsts) / n**2
    if chance == 1:
        return None
    kappa, low, high = (
        (share - chance) / (1 - chance) for share in (equal.value, equal.low, equal.high)
    )
    return Rate(kappa, max(low, -1.0), high, equal.n)


class Item(NamedTuple):
    """A pair or a question that labellers choose a side or an option of.

    Args:
        prompt: that it is about; items of one prompt are one case of an interval.
        name: tells it from the others of that prompt.
    """

    prompt: str
    name: str


@dataclass(frozen=True)
class Agreement:
    """How two labellers agree on the items of which both take a side.

    Args:
        first: name of one.
        second: name of the other.
        items: number of these items.
        same: share of these items on which they take the same side; None if there are none.
        kappa: the same beyond chance; None as in `cohens_kappa`.
    """

    first: str
    second: str
    items: int
    same: Rate | None
    kappa: Rate | None

    @property
    def verdict(self) -> str:
        """Give "redundant" or "contradicting", where the interval leaves no doubt; else ""."""
        if self.same is None:
            return ""
        if self.same.low > REDUNDANT:
            return "redundant"
        return "contradicting" if self.same.high < CONTRADICTING else ""

    def to_json(self) -> dict[str, Any]:
        """Give names, number of items, both figures and the verdict."""
        return {
            "first": self.first,
            "second": self.second,
            "items": self.items,
            "same": self.same.to_json() if self.same else None,
            "kappa": self.kappa.to_json() if self.kappa else None,
            "verdict": self.verdict,
        }


def agreements(choices: Mapping[str, Mapping[Item, str]]) -> tuple[Agreement, ...]:
    """The agreement of every two labellers, on the items of which both have chosen something.

    Near-ties should be left out: of a pair that is not its business a principle says next to
    nothing, and the side that it then takes is noise.

    Args:
        choices: what was chosen, by labeller and by item.
    """
    return tuple(
        _agreement(first, second, choices[first], choices[second])
        for first, second in combinations(choices, 2)
    )


def _agreement(
    first: str, second: str, ours: Mapping[Item, str], theirs: Mapping[Item, str]
) -> Agreement:
    items = [item for item in ours if item in theirs]
    both, cases = [(ours[item], theirs[item]) for item in items], [item.prompt for item in items]
    same = [float(one == other) for one, other in both]
    return Agreement(
        first,
        second,
        items=len(items),
        same=share_by_case(zip(cases, same, strict=True)),
        kappa=cohens_kappa(both, cases),
    )
