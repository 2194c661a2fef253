"""The most calls and dollars that one command may spend.

A call's place in the budget is taken before it is asked for, at what it may cost at most, and
settled at what it did cost. So calls under way cannot carry a run over its limit, and a run that
comes near it asks fewer calls at once, down to one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from cai.errors import BudgetReached, CaiError
from cai.models.prices import Prices


class Place:
    """A call's place in a budget; used in a ``with`` block around its purchase.

    Args:
        budget: where it was taken.
        cost: dollars that were set aside for it.
    """

    __slots__ = ("_budget", "_spent", "cost")

    def __init__(self, budget: Budget, cost: float) -> None:
        """Set the cost aside."""
        self.cost = cost
        self._budget = budget
        self._spent: float | None = None

    def paid(self, cost: float) -> None:
        """Say that the call was answered, and what it cost in dollars."""
        self._spent = cost

    def __enter__(self) -> Self:
        """Begin the purchase."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Settle what it cost, or give the place back if it was not answered."""
        self._budget.settle(self, self._spent)


class Budget:
    """Counts the calls and dollars of one command, of all models together.

    A call that is tried again counts once, and one that was found in a ledger not at all.

    Args:
        max_cost: dollars; None for any amount.
        max_calls: calls; None for any number.
    """

    def __init__(self, max_cost: float | None = None, max_calls: int | None = None) -> None:
        """Begin with nothing spent."""
        self.max_cost = max_cost
        self.max_calls = max_calls
        self.cost = 0.0
        self.calls = 0
        self._set_aside = 0.0
        self._under_way = 0
        self._settled = asyncio.Event()

    def check_prices(self, models: Mapping[str, Prices | None]) -> None:
        """Make sure that dollars can be counted, if they are limited.

        Args:
            models: prices by the model's name for people.

        Raises:
            CaiError: a model's prices are unknown.
        """
        unknown = sorted(name for name, prices in models.items() if prices is None)
        if self.max_cost is not None and unknown:
            raise CaiError(
                f"--max-cost cannot be kept: the prices of {', '.join(unknown)} are unknown; give "
                "them in the model's settings, in dollars per million tokens: "
                "prices: {input: 0.15, output: 0.60}"
            )

    def take_now(self, cost: float) -> Place | None:
        """A place for a call of at most this cost; None if it may be there once others settle.

        Raises:
            BudgetReached: it does not fit, and there is nothing under way to wait for.
        """
        if not self._has_room(cost):
            if not self._under_way:
                raise BudgetReached(self._reason(cost))
            return None
        self._under_way += 1
        self._set_aside += cost
        return Place(self, cost)

    async def take(self, cost: float) -> Place:
        """A place for a call of at most this cost, once there is one.

        Raises:
            BudgetReached: as `take_now`.
        """
        while (place := self.take_now(cost)) is None:
            self._settled.clear()
            await self._settled.wait()
        return place

    def settle(self, place: Place, cost: float | None) -> None:
        """A purchase ended; None if it was not answered. Called by the place."""
        self._under_way -= 1
        # With nothing under way nothing is set aside: no rounding is carried on.
        self._set_aside = self._set_aside - place.cost if self._under_way else 0.0
        if cost is not None:
            self.calls += 1
            self.cost += cost
        self._settled.set()

    def _has_room(self, cost: float) -> bool:
        if self.max_calls is not None and self.calls + self._under_way >= self.max_calls:
            return False
        return self.max_cost is None or self.cost + self._set_aside + cost <= self.max_cost

    def _reason(self, cost: float) -> str:
        if self.max_calls is not None and self.calls >= self.max_calls:
            option, state = "--max-calls", f"{self.calls:,} calls were made"
            limit = f"{self.max_calls:,}"
        else:
            option, limit = "--max-cost", f"{self.max_cost:g}"
            state = f"${self.cost:.4g} were spent, and the next call may cost ${cost:.2g}"
        return (
            f"stopped at {option} {limit}: {state}; all of it is kept, "
            f"and the same command with a higher {option} goes on from here"
        )
