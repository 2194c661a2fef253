"""What each principle did in a run, and what the run's figures would be without it.

A principle is drawn by a hash of the row and of its own id (see `cai.constitution.draw`), whatever
the prompt. So the rows that did not draw it are word for word those that a run without it would
have, and a fair sample of all of that run's rows: their figure is what the run's figure would be,
and no call has to be made for it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from cai.evaluation.intervals import Rate, difference, rate, share_by_case
from cai.evaluation.observation import Observation, observe
from cai.records import Comparison
from cai.stages.label_maths import mean_probability, preference, rated_preference

Truth = Callable[[Comparison], float | None]
"""The true P(a is better) of a comparison, in [0, 1]; None where it is not known."""


class Drawn(NamedTuple):
    """One row that a model was asked for.

    Args:
        principles: ids of those drawn for it.
        value: in [0, 1]; 1 for what is counted, such as a row that ended ok or a text that harms.
        prompt: names what the row is about; rows of one prompt are one case of an interval.
    """

    principles: frozenset[str]
    value: float
    prompt: str


@dataclass(frozen=True)
class Without:
    """A figure without one principle.

    Args:
        without: over the rows that did not draw it.
        change: that, less the figure over all rows; with its interval.
    """

    without: Rate
    change: Rate


@dataclass(frozen=True)
class PrincipleFigures:
    """One principle in a run; what was not measured is None.

    Args:
        revisions: of the revisions asked for under it, the share that was kept; `n` is the draws.
        labels: of the pairs that the judge was asked about under it, the share that got a label;
            here too `n` is the draws, and elsewhere that of the prompts.
        orders_agree: of its labels with both orders, the share whose orders take the same side.
        truth_agrees: of its labels, the share that takes the truly better side.
        others_agree: of its labels under several principles, the share in which its own vote takes
            the side of the others' mean.
        left_out: what each figure of the run would be without it, by name ("harm": share of harmful
            texts after the last round; "label_accuracy"; "order_flips").
        turned: of its labels under several principles, the share whose side changes when its votes
            are left out.
    """

    revisions: Rate | None = None
    labels: Rate | None = None
    orders_agree: Rate | None = None
    truth_agrees: Rate | None = None
    others_agree: Rate | None = None
    left_out: Mapping[str, Without] = field(default_factory=dict[str, Without])
    turned: Rate | None = None

    def to_json(self) -> dict[str, Any]:
        """The shape of one entry of ``principles`` in `metrics.json`."""
        rates = ("revisions", "labels", "orders_agree", "truth_agrees", "others_agree", "turned")
        found: dict[str, Rate | None] = {name: getattr(self, name) for name in rates}
        left_out = {
            name: {"without": one.without.to_json(), "change": one.change.to_json()}
            for name, one in self.left_out.items()
        }
        shown = {name: one.to_json() if one else None for name, one in found.items()}
        return {**shown, "left_out": left_out}


@dataclass(frozen=True)
class PrincipleRows:
    """What a run has to say of its principles.

    Args:
        revisions: every revision that was asked for, 1 if it was kept.
        labels: every pair that the judge was asked about, 1 if it got a label.
        last_texts: last texts of the traces of harmful prompts, 1 if they harm.
        comparisons: the judge's labels.
        drawn_alike: whether every principle is drawn whatever the prompt; if not, nothing is said
            of what would be without one.
    """

    revisions: Sequence[Drawn] = ()
    labels: Sequence[Drawn] = ()
    last_texts: Sequence[Drawn] = ()
    comparisons: Sequence[Comparison] = ()
    drawn_alike: bool = True


def principle_figures(
    rows: PrincipleRows, truth: Truth | None = None
) -> dict[str, PrincipleFigures]:
    """Figures of every principle that was drawn, by id in alphabetical order."""
    seen = [observe(one, truth(one) if truth else None) for one in rows.comparisons]
    credits = _drawn(seen, lambda one: one.credit)
    flips = _drawn(seen, lambda one: one.flipped)
    cases = {"harm": rows.last_texts, "label_accuracy": credits, "order_flips": flips}
    voted = [(one.prompt.text_hash, votes_of(one)) for one in rows.comparisons]
    votes = [(prompt, found) for prompt, found in voted if len(found) > 1]
    revisions, labels, right, flipped = map(
        _by_principle, (rows.revisions, rows.labels, credits, flips)
    )
    names = sorted({*revisions, *labels, *right, *flipped, *_by_principle(rows.last_texts)})
    return {
        name: PrincipleFigures(
            revisions=_of_draws(revisions[name]),
            labels=_of_draws(labels[name]),
            orders_agree=share_by_case((one.prompt, 1 - one.value) for one in flipped[name]),
            truth_agrees=share_by_case((one.prompt, one.value) for one in right[name]),
            others_agree=share_by_case(
                (prompt, float(_same(one, name))) for prompt, one in votes if name in one
            ),
            left_out=_left_out(cases, name) if rows.drawn_alike else {},
            turned=share_by_case(
                (prompt, float(_turns(one, name))) for prompt, one in votes if name in one
            ),
        )
        for name in names
    }


def without(cases: Sequence[Drawn], principle: str) -> Without | None:
    """The mean without a principle, m₀, and its change from the mean of all rows.

        m₀ − m = s (m₀ − m₁),   m = s m₁ + (1 − s) m₀

    s is the share of rows that drew it, and m₁ their mean. The interval is s times Newcombe's of
    the difference, which takes its samples as independent: no row is in both.

    Args:
        cases: rows with what is counted of them.
        principle: id of the one to leave out.

    Returns:
        None if every row drew it, or none.
    """
    drew = [(one.prompt, one.value) for one in cases if principle in one.principles]
    others = [(one.prompt, one.value) for one in cases if principle not in one.principles]
    under, kept = share_by_case(drew), share_by_case(others)
    if under is None or kept is None:
        return None
    apart, share = difference(under, kept), len(drew) / len(cases)
    ends = (share * apart.value, share * apart.low, share * apart.high)
    return Without(kept, Rate(*ends, len({one.prompt for one in cases})))


def votes_of(comparison: Comparison) -> dict[str, float]:
    """P(a is better) by each principle of a label: the mean over its orders and thoughts."""
    votes: defaultdict[str, list[float]] = defaultdict(list)
    for order in comparison.orders:
        votes[order.principle].append(preference(order.logprob_a, order.logprob_b))
    ratings: defaultdict[str, dict[str, Sequence[float]]] = defaultdict(dict)
    for rating in comparison.ratings:
        ratings[rating.principle][rating.of] = rating.shares
    for name, shares in ratings.items():
        votes[name].append(rated_preference(shares["a"], shares["b"]))
    return {name: mean_probability(found) for name, found in votes.items()}


@cache
def ids_of(names: str) -> frozenset[str]:
    """The ids in a label's or a revision's principle; millions of rows share a few such sets."""
    return frozenset(filter(None, names.split(" + ")))


def _left_out(cases: Mapping[str, Sequence[Drawn]], name: str) -> dict[str, Without]:
    found = {figure: without(rows, name) for figure, rows in cases.items()}
    return {figure: one for figure, one in found.items() if one is not None}


def _drawn(
    seen: Iterable[Observation], value_of: Callable[[Observation], float | None]
) -> list[Drawn]:
    values = ((one, value_of(one)) for one in seen)
    return [
        Drawn(ids_of(one.principle), float(value), one.prompt)
        for one, value in values
        if value is not None
    ]


def _by_principle(rows: Iterable[Drawn]) -> defaultdict[str, list[Drawn]]:
    found: defaultdict[str, list[Drawn]] = defaultdict(list)
    for row in rows:
        for name in row.principles:
            found[name].append(row)
    return found


def _of_draws(rows: Sequence[Drawn]) -> Rate | None:
    return rate(math.fsum(one.value for one in rows), len(rows)) if rows else None


def _same(votes: Mapping[str, float], name: str) -> bool:
    return (votes[name] - 0.5) * (_others(votes, name) - 0.5) > 0


def _turns(votes: Mapping[str, float], name: str) -> bool:
    whole = mean_probability(list(votes.values()))
    return (whole - 0.5) * (_others(votes, name) - 0.5) < 0


def _others(votes: Mapping[str, float], name: str) -> float:
    return mean_probability([p for one, p in votes.items() if one != name])
