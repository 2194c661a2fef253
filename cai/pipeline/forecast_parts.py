"""What calls cost, told beforehand: tokens and dollars, by part and model.

Tokens of calls that are not bought yet are the mean of calls of the same part by the same model
that are, or else what the recipe states, or else unknown. Dollars follow from both and the model's
prices. Nothing unknown is ever taken for zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from cai.engine import Ledger, StoredCall
from cai.engine.foreseen import CallCount, Foresight, ModelName, is_counted
from cai.means import MeanTokens, StatedMeans
from cai.models.prices import MILLION, Prices
from cai.records import Usage

EARLIER_CALLS = 1000
"""Calls of earlier rows that a mean is taken of."""

EARLIER_ROWS = 10_000
"""Rows that are looked through for them; they come in the order of hashes, so at random."""


class Tokens(NamedTuple):
    """Mean tokens of a call, and where they were had."""

    means: MeanTokens
    source: str


class Sum(NamedTuple):
    """A sum of what is known; `complete` is False if there is more that is not."""

    known: float
    complete: bool


@dataclass(frozen=True)
class PartForecast:
    """The calls of one part of a run by one model.

    Args:
        part: such as "critique"; as in the recipe's section ``forecast``.
        model: its name for people.
        bought: calls whose answers are in the ledger.
        to_buy: calls that are still to be made.
        tokens: of a call to be made; None if unknown.
        prices: of the model's tokens; None if unknown.
        following: how many of `to_buy` show the answer to another of them, so that an answer like
            an earlier one makes them needless.
    """

    part: str
    model: str
    bought: int
    to_buy: int
    tokens: Tokens | None
    prices: Prices | None
    following: int = 0

    @property
    def input_tokens(self) -> float | None:
        """Tokens that the calls to be made read; None if unknown."""
        return self._of_all(self.tokens.means.input if self.tokens else None)

    @property
    def output_tokens(self) -> float | None:
        """Tokens that the calls to be made write; None if unknown."""
        return self._of_all(self.tokens.means.output if self.tokens else None)

    @property
    def dollars(self) -> float | None:
        """What the calls to be made cost; None if unknown."""
        if self.prices is None:
            return self._of_all(None)
        costs = (
            self._cost(self.input_tokens, self.prices.input),
            self._cost(self.output_tokens, self.prices.output),
        )
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    @staticmethod
    def _cost(tokens: float | None, price: float) -> float | None:
        """What costs nothing costs nothing, however much there is of it."""
        if price == 0:
            return 0.0
        return None if tokens is None else tokens * price / MILLION

    def _of_all(self, mean: float | None) -> float | None:
        if self.to_buy == 0:
            return 0.0
        return None if mean is None else mean * self.to_buy


@dataclass(frozen=True)
class Forecast:
    """What a run would cost.

    Args:
        parts: in the order of the run.
        to_train: models that the run trains; none of their calls can be bought before.
        fallback: the model that is asked where another one declines; None if there is none.
        left_out: rows of the recipe's sets that are not worked on, by source and reason.
        rates: what is to be said of learning rates; None if nothing.
    """

    parts: tuple[PartForecast, ...]
    to_train: tuple[str, ...]
    fallback: str | None = None
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    rates: str | None = None

    @property
    def bought(self) -> int:
        """Calls whose answers are in the ledger."""
        return sum(part.bought for part in self.parts)

    @property
    def to_buy(self) -> int:
        """Calls that are still to be made."""
        return sum(part.to_buy for part in self.parts)

    @property
    def following(self) -> int:
        """Calls to be made that an answer like an earlier one would make needless."""
        return sum(part.following for part in self.parts)

    @property
    def input_tokens(self) -> Sum:
        """Tokens that the calls to be made read."""
        return _sum(part.input_tokens for part in self.parts)

    @property
    def output_tokens(self) -> Sum:
        """Tokens that the calls to be made write."""
        return _sum(part.output_tokens for part in self.parts)

    @property
    def dollars(self) -> Sum:
        """What the calls to be made cost."""
        return _sum(part.dollars for part in self.parts)


def parts_of(foresight: Foresight, stated: StatedMeans) -> tuple[PartForecast, ...]:
    """What was foreseen, by part and model, in the order of the calls.

    Args:
        foresight: that has counted.
        stated: means of parts of which nothing was bought, by the recipe.
    """
    return tuple(
        PartForecast(
            part=count.part,
            model=count.model.shown,
            bought=count.bought,
            to_buy=count.to_buy,
            tokens=_tokens(count, foresight.ledger, stated),
            prices=count.model.prices,
            following=count.following,
        )
        for count in foresight.counts.values()
    )


def _tokens(count: CallCount, ledger: Ledger, stated: StatedMeans) -> Tokens | None:
    """What the calls of a part read and write, by the best source that there is."""
    if count.to_buy == 0:
        return None
    if count.counted:
        total = Usage(count.input_tokens, count.output_tokens)
        return Tokens(_mean(total, count.counted), f"{count.counted:,} calls")
    earlier = [call.usage for call in islice(_earlier_calls(count, ledger), EARLIER_CALLS)]
    if earlier:
        total = Usage(
            sum(usage.input_tokens for usage in earlier),
            sum(usage.output_tokens for usage in earlier),
        )
        return Tokens(_mean(total, len(earlier)), f"{len(earlier):,} earlier calls")
    means = stated.of(count.part)
    return None if means is None else Tokens(means, "recipe")


def _mean(total: Usage, calls: int) -> MeanTokens:
    return MeanTokens(input=total.input_tokens / calls, output=total.output_tokens / calls)


def _earlier_calls(count: CallCount, ledger: Ledger) -> Iterator[StoredCall]:
    """Calls that a part made in rows as they are, with texts that the run no longer sends."""
    stage = _STAGE.get(count.part, count.part)
    for row in islice(ledger.rows(stage, "ok"), EARLIER_ROWS):
        answers = row.calls[: len(row.calls) - len((row.record or {}).get("refusals", ()))]
        for key in answers[_OWN_CALLS.get(count.part, slice(None))]:
            call = ledger.call(key)
            if call is None or call.kind != _KINDS.get(count.part, call.kind):
                continue
            if is_counted(call.usage) and _is_by(call, count.model):
                yield call


def _is_by(call: StoredCall, model: ModelName) -> bool:
    """A policy to be trained will answer much as the one before it did."""
    return call.model == model.identity or not model.exists


_STAGE = {"critique": "revision", "reasoning": "comparison"}
"""Parts whose calls are in the rows of another stage."""

_OWN_CALLS = {
    "critique": slice(0, -1),
    "revision": slice(-1, None),
    "comparison": slice(2, None),
    "reasoning": slice(2, None),
}
"""Which of a row's calls are a part's, if not all; a comparison's row begins with its replies',
and the calls that were declined stand at every row's end."""

_KINDS = {"comparison": "weigh", "reasoning": "complete"}
"""What kind of calls are a part's, where another part's stand beside them."""


def _sum(numbers: Iterable[float | None]) -> Sum:
    listed = list(numbers)
    known = [number for number in listed if number is not None]
    return Sum(sum(known), len(known) == len(listed))
