"""No more is spent than was allowed, and what was bought is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.engine import Backoff, BoughtModel, Ledger, RowLog, Tally, making, run_rows
from cai.engine.budget import Budget
from cai.errors import BudgetReached, CaiError, TransientError
from cai.models.prices import Prices
from cai.records import Completion, Message, RowKey, Sampling, Usage

PRICES = Prices(input=1.0, output=2.0)
SAMPLING = Sampling(max_tokens=1000)


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


class TalkingModel:
    """Answers with some tokens, after the faults it was given; knows how many calls are with it."""

    identity = "scripted:talking"

    def __init__(self, tokens: int = 100, faults: Sequence[Exception] = ()) -> None:
        self.tokens = tokens
        self.faults = list(faults)
        self.asked = 0

    async def complete(self, messages, sampling):
        self.asked += 1
        await asyncio.sleep(0)
        if self.faults:
            raise self.faults.pop(0)
        return Completion("yes", "stop", Usage(min(self.tokens, 10), self.tokens), "talking")

    async def weigh(self, messages, options):
        raise NotImplementedError

    async def close(self):
        pass


async def ask_for(rows: int, model: TalkingModel, ledger: Ledger, budget: Budget) -> Tally:
    """Rows of two calls each, eight at once; the tally also says what a stopped run has made."""
    tally = Tally()
    backoff = Backoff(draw=lambda low, high: low)
    buyer = BoughtModel(
        model, ledger, tally=tally, backoff=backoff, prices=PRICES, budget=budget, attempts=3
    )

    async def step(name: int, log: RowLog) -> None:
        key = RowKey("response", f"p{name}")
        with making(key):
            first = await buyer.complete((Message("user", f"{name}"),), SAMPLING)
            second = await buyer.complete((Message("user", f"{name} {first.text}"),), SAMPLING)
        await log.ok(key, {"text": second.text}, (first.call, second.call))

    await run_rows(range(rows), step, ledger=ledger, in_flight=8, stages=("response",))
    return tally


@pytest.mark.parametrize("most", [0, 1, 7, 8, 25])
async def test_no_call_is_made_beyond_the_number_allowed(ledger, most: int):
    model, budget = TalkingModel(), Budget(max_calls=most)

    with pytest.raises(BudgetReached, match=f"--max-calls {most}: {most} calls were made"):
        await ask_for(50, model, ledger, budget)

    assert model.asked == budget.calls == most


async def test_the_same_command_with_a_higher_limit_goes_on_and_pays_for_new_calls_only(ledger):
    model = TalkingModel()
    with pytest.raises(BudgetReached, match="higher --max-calls goes on from here"):
        await ask_for(20, model, ledger, Budget(max_calls=15))
    finished = ledger.counts().get(("response", "ok"), 0)

    tally = await ask_for(20, model, ledger, Budget(max_calls=25))

    assert finished > 0
    assert model.asked == 40
    assert (tally.total.made, tally.total.cached) == (25, 15)


async def test_a_limit_that_is_just_enough_stops_nothing(ledger):
    tally = await ask_for(10, TalkingModel(), ledger, Budget(max_calls=20))

    assert tally.total.made == 20


async def test_calls_found_in_the_ledger_cost_nothing(ledger):
    await ask_for(10, TalkingModel(), ledger, Budget())

    tally = await ask_for(10, TalkingModel(), ledger, Budget(max_cost=0.0, max_calls=0))

    assert tally.total.cached == 20


@pytest.mark.parametrize("dollars", [0.0, 0.002, 0.01, 0.05])
async def test_dollars_are_never_overshot_and_nearly_used_up(ledger, dollars: float):
    model, budget = TalkingModel(tokens=100), Budget(max_cost=dollars)

    with pytest.raises(BudgetReached, match="--max-cost"):
        await ask_for(1000, model, ledger, budget)

    one = PRICES.cost(Usage(10, 100))
    dearest = PRICES.cost(Usage(20, 1000))
    assert budget.cost == pytest.approx(model.asked * one)
    assert dollars - dearest <= budget.cost <= dollars


async def test_a_server_that_counts_no_tokens_is_charged_for_the_most(ledger):
    model, budget = TalkingModel(tokens=0), Budget(max_cost=0.021)

    with pytest.raises(BudgetReached):
        await ask_for(100, model, ledger, budget)

    # At most 1000 tokens of 2 dollars per million, and a few more of the question.
    assert model.asked == 10


async def test_a_call_that_is_tried_again_counts_once(ledger):
    model = TalkingModel(faults=[TransientError("busy")] * 2)

    tally = await ask_for(1, model, ledger, Budget(max_calls=2))

    assert (tally.total.made, tally.total.retries) == (2, 2)


async def test_a_call_that_failed_leaves_its_place_to_another(ledger):
    model, budget = TalkingModel(faults=[TransientError("busy")] * 3 * 8), Budget(max_calls=10)

    with pytest.raises(BudgetReached):
        await ask_for(50, model, ledger, budget)

    assert budget.calls == 10


async def test_a_model_of_unknown_price_is_refused_before_the_first_call(ledger):
    model = TalkingModel()

    with pytest.raises(CaiError, match=r"prices of scripted:talking are unknown.*prices: \{"):
        BoughtModel(model, ledger, tally=Tally(), budget=Budget(max_cost=1.0))

    assert model.asked == 0


async def test_without_a_limit_of_dollars_prices_may_be_unknown(ledger):
    buyer = BoughtModel(TalkingModel(), ledger, tally=Tally(), budget=Budget(max_calls=1))

    assert (await buyer.complete((Message("user", "hi"),), SAMPLING)).text == "yes"


@given(
    max_cost=st.floats(0, 10),
    calls=st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1)), max_size=30),
)
async def test_whatever_calls_cost_the_sum_stays_within_the_budget(max_cost, calls):
    budget = Budget(max_cost=max_cost)

    async def call(most: float, share: float) -> None:
        with await budget.take(most) as place:
            await asyncio.sleep(0)
            place.paid(most * share)

    await asyncio.gather(*(call(*one) for one in calls), return_exceptions=True)

    assert budget.cost <= max_cost + 1e-9
