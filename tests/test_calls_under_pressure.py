"""How bought calls wait their turn: let in try by try, given up when a run stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cai.engine import Backoff, BoughtModel, Ledger, RowLog, Tally, making, run_rows
from cai.engine.pressure import Pressure
from cai.errors import PermanentError, TransientError
from cai.models.label_samples import LabelSampling
from cai.models.limits import Allowance, Announced
from cai.records import Completion, Message, RowKey, Sampling, Usage

ASK = (Message("user", "Which one, A or B?"),)


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


class RemoteModel:
    """Answers by a function of the try's number; knows how many calls are with it at once."""

    identity = "openai:m@http://host/v1"

    def __init__(self, answer: Callable[[int], str], labels: LabelSampling | None = None) -> None:
        self.answer = answer
        self.label_sampling = labels
        self.asked = 0
        self.busy = 0
        self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.heard: Any = None

    def tell_limits(self, heard: Any) -> None:
        self.heard = heard

    async def complete(self, messages, sampling):
        self.asked += 1
        number = self.asked
        self.busy += 1
        self.most_at_once = max(self.most_at_once, self.busy)
        try:
            await asyncio.sleep(0)
            await self.gate.wait()
            return Completion(self.answer(number), "stop", Usage(5, 2), "m")
        finally:
            self.busy -= 1

    async def weigh(self, messages, options):
        raise AssertionError("a model that samples its labels is asked for replies alone")

    async def close(self):
        pass


async def no_wait(seconds: float) -> None:
    await asyncio.sleep(0)


def bought(model: RemoteModel, ledger: Ledger, pressure: Pressure, **settings: Any) -> BoughtModel:
    backoff = Backoff(sleep=no_wait, draw=lambda low, high: high)
    tally = settings.pop("tally", None) or Tally()
    return BoughtModel(model, ledger, tally=tally, backoff=backoff, pressure=pressure, **settings)


async def rows_of(buyer: BoughtModel, ledger: Ledger, rows: int, in_flight: int):
    async def step(number: int, log: RowLog) -> None:
        key = RowKey("response", f"p{number}")
        with making(key):
            completion = await buyer.complete((Message("user", f"{number}"),), Sampling())
        await log.ok(key, {"text": completion.text}, (completion.call,))

    return await run_rows(
        range(rows), step, ledger=ledger, in_flight=in_flight, stages=("response",)
    )


async def test_rows_in_flight_ask_no_more_at_once_than_the_model_allows(ledger):
    model = RemoteModel(lambda number: "yes")
    buyer = bought(model, ledger, Pressure(64, Allowance(concurrency=3)))

    counts = await rows_of(buyer, ledger, 100, in_flight=20)

    assert counts == {"ok": 100}
    assert model.most_at_once == 3


async def test_two_roles_on_one_server_share_what_it_allows(ledger):
    model, pressure = RemoteModel(lambda number: "yes"), Pressure(64, Allowance(concurrency=3))
    one, other = bought(model, ledger, pressure), bought(model, ledger, pressure)

    await asyncio.gather(
        *(
            buyer.complete((Message("user", f"{number} {role}"),), Sampling())
            for number in range(20)
            for role, buyer in (("critic", one), ("judge", other))
        )
    )

    assert model.most_at_once == 3


async def test_a_failed_try_gives_its_place_back_while_the_call_rests(ledger):
    def busy_at_first(number: int) -> str:
        if number <= 5:
            raise TransientError("busy")
        return "yes"

    pressure = Pressure(64, Allowance(concurrency=1))

    counts = await rows_of(bought(RemoteModel(busy_at_first), ledger, pressure), ledger, 10, 4)

    assert counts == {"ok": 10}
    assert pressure.active == 0


async def test_limits_that_the_models_headers_tell_reach_its_pressure(ledger):
    model, pressure = RemoteModel(lambda number: "yes"), Pressure(64)
    buyer = bought(model, ledger, pressure)
    assert not pressure.counts_tokens

    def answer(number: int) -> str:
        model.heard([Announced("tokens", 1000, 900, 6)])
        return "yes"

    model.answer = answer
    await buyer.complete(ASK, Sampling())

    assert pressure.counts_tokens


async def test_a_server_that_never_answers_stops_the_run_instead_of_burning_through_it(ledger):
    def away(number: int) -> str:
        raise TransientError("connection refused", cause="unreachable")

    model = RemoteModel(away)
    pressure = Pressure(4, sleep=no_wait, clock=Ticking())

    with pytest.raises(PermanentError, match=r"has answered no call.*connection refused"):
        await rows_of(bought(model, ledger, pressure), ledger, 1000, in_flight=4)

    assert model.asked < 50


class Ticking:
    """A clock on which every look takes a minute."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 60.0
        return self.now


async def test_a_server_that_goes_away_later_does_not_stop_the_run(ledger):
    def away_for_a_while(number: int) -> str:
        if 10 < number < 60:
            raise TransientError("connection refused", cause="unreachable")
        return "yes"

    pressure = Pressure(4, sleep=no_wait, clock=Ticking())
    buyer = bought(RemoteModel(away_for_a_while), ledger, pressure, attempts=30)

    assert await rows_of(buyer, ledger, 40, in_flight=4) == {"ok": 40}


async def test_stopping_asks_nothing_that_still_waits_its_turn(ledger):
    model, pressure = RemoteModel(lambda number: "yes"), Pressure(64, Allowance(concurrency=2))
    model.gate.clear()
    buyer = bought(model, ledger, pressure)
    run = asyncio.create_task(rows_of(buyer, ledger, 100, in_flight=10))
    while model.busy < 2:
        await asyncio.sleep(0)

    run.cancel()
    asyncio.get_running_loop().call_later(0.05, model.gate.set)
    with pytest.raises(asyncio.CancelledError):
        await run

    assert model.asked == 2
    kept = await asyncio.gather(
        *(buyer.complete((Message("user", f"{number}"),), Sampling()) for number in range(2))
    )
    assert all(completion.cached for completion in kept)


async def test_stopping_cuts_a_pause_that_the_provider_asked_for_short(ledger):
    def busy(number: int) -> str:
        raise TransientError("429", retry_after=3600, cause="overload")

    model = RemoteModel(busy)
    run = asyncio.create_task(rows_of(bought(model, ledger, Pressure(2)), ledger, 9, in_flight=4))
    while not model.asked:
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)

    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(run, timeout=10)

    assert model.asked <= 4


async def test_a_label_from_samples_is_made_of_calls_that_are_each_bought_once(ledger):
    tally = Tally()
    model = RemoteModel(lambda number: "A" if number % 4 else "B", LabelSampling(8, 16))
    buyer = bought(model, ledger, Pressure(64, Allowance(concurrency=2)), tally=tally)

    first = await buyer.weigh(ASK, ("A", "B"))
    again = await buyer.weigh(ASK, ("A", "B"))

    assert (first.method, first.samples, first.mass) == ("samples", 8, 1.0)
    assert again.cached and again.logprobs == first.logprobs
    assert model.asked == 8
    assert model.most_at_once == 2
    assert (tally.total.made, tally.total.input_tokens) == (8, 40)


async def test_a_sample_that_fails_is_tried_again_alone(ledger):
    def one_in_five_fails(number: int) -> str:
        if number % 5 == 0:
            raise TransientError("500")
        return "A"

    model = RemoteModel(one_in_five_fails, LabelSampling(16, 16))

    weighed = await bought(model, ledger, Pressure(64)).weigh(ASK, ("A", "B"))

    assert weighed.samples == 16
    assert model.asked == 16 + 3


async def test_samples_that_were_bought_before_a_failure_are_not_bought_again(ledger):
    def fails_late(number: int) -> str:
        if number == 8:
            raise PermanentError("401: wrong key")
        return "A"

    model = RemoteModel(fails_late, LabelSampling(8, 16))
    buyer = bought(model, ledger, Pressure(64))
    with pytest.raises(PermanentError):
        await buyer.weigh(ASK, ("A", "B"))

    weighed = await buyer.weigh(ASK, ("A", "B"))

    assert weighed.samples == 8
    assert model.asked == 9
