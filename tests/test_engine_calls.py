"""A call is bought once, whoever asks and however often."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cai.engine import Backoff, BoughtModel, Ledger, Tally
from cai.errors import PermanentError, RejectedRequest, TransientError
from cai.models.prices import Prices
from cai.records import Completion, Message, Sampling, Usage, Weighed

HELLO = (Message("user", "Hello 🙂"),)
SAMPLING = Sampling(seed=1)


class EchoModel:
    """Answers with what it was asked, after the faults it was given have been raised."""

    def __init__(self, identity: str = "scripted:echo", faults: Sequence[Exception] = ()) -> None:
        self.identity = identity
        self.faults = list(faults)
        self.asked: list[object] = []

    async def complete(self, messages, sampling):
        await self._note((messages, sampling))
        text = f"{messages[-1].content} {sampling.seed}"
        return Completion(text, "stop", Usage(3, 2), "echo-1", logprobs=(-0.1, -1 / 3))

    async def weigh(self, messages, options):
        await self._note((messages, options))
        return Weighed((-0.1, -2.3), 0.97, "exact", Usage(5, 1), "echo-1")

    async def close(self):
        self.asked.append("closed")

    async def _note(self, request: object) -> None:
        self.asked.append(request)
        await asyncio.sleep(0)
        if self.faults:
            raise self.faults.pop(0)


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


def bought(model: EchoModel, ledger: Ledger, tally: Tally | None = None, **settings) -> BoughtModel:
    return BoughtModel(model, ledger, tally=tally or Tally(), **settings)


def waits_noted_in(waits: list[float]) -> Backoff:
    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    return Backoff(sleep=sleep, draw=lambda low, high: high)


async def test_an_answer_is_found_again_and_equals_the_fresh_one(ledger):
    model = EchoModel()
    fresh = await bought(model, ledger).complete(HELLO, SAMPLING)
    found = await bought(model, ledger).complete(HELLO, SAMPLING)

    assert not fresh.cached and fresh.call
    assert found == replace(fresh, cached=True)
    assert len(model.asked) == 1


async def test_a_weighing_is_found_again_and_equals_the_fresh_one(ledger):
    model = EchoModel()
    fresh = await bought(model, ledger).weigh(HELLO, ("A", "B"))
    found = await bought(model, ledger).weigh(HELLO, ("A", "B"))

    assert found == replace(fresh, cached=True)
    assert len(model.asked) == 1


async def test_equal_calls_at_the_same_time_are_bought_once(ledger):
    model, tally = EchoModel(), Tally()
    one, other = bought(model, ledger, tally), bought(model, ledger, tally)

    answers = await asyncio.gather(
        *(buyer.complete(HELLO, SAMPLING) for buyer in (one, other, one, other))
    )

    assert len(model.asked) == 1
    assert len({answer.call for answer in answers}) == 1
    assert (tally.total.made, tally.total.cached) == (1, 3)


Change = Callable[[EchoModel, Ledger], object]
CHANGES: dict[str, Change] = {
    "text": lambda m, ledger: bought(m, ledger).complete((Message("user", "Hello"),), SAMPLING),
    "role": lambda m, ledger: bought(m, ledger).complete(
        (Message("system", HELLO[0].content),), SAMPLING
    ),
    "turns": lambda m, ledger: bought(m, ledger).complete((*HELLO, *HELLO), SAMPLING),
    "seed": lambda m, ledger: bought(m, ledger).complete(HELLO, replace(SAMPLING, seed=2)),
    "temperature": lambda m, ledger: bought(m, ledger).complete(
        HELLO, replace(SAMPLING, temperature=0.5)
    ),
    "top_p": lambda m, ledger: bought(m, ledger).complete(HELLO, replace(SAMPLING, top_p=0.5)),
    "max_tokens": lambda m, ledger: bought(m, ledger).complete(
        HELLO, replace(SAMPLING, max_tokens=9)
    ),
    "stop": lambda m, ledger: bought(m, ledger).complete(HELLO, replace(SAMPLING, stop=("\n",))),
    "identity": lambda m, ledger: bought(EchoModel("other"), ledger).complete(HELLO, SAMPLING),
    "provider options": lambda m, ledger: bought(m, ledger, options={"effort": "low"}).complete(
        HELLO, SAMPLING
    ),
    "kind": lambda m, ledger: bought(m, ledger).weigh(HELLO, ("A", "B")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_whatever_changes_the_answer_makes_another_call(ledger, change):
    model, first = EchoModel(), None
    first = await bought(model, ledger).complete(HELLO, SAMPLING)

    changed = await change(model, ledger)

    assert not changed.cached
    assert changed.call != first.call


async def test_other_options_make_another_weighing(ledger):
    buyer = bought(EchoModel(), ledger)

    first, other = await buyer.weigh(HELLO, ("A", "B")), await buyer.weigh(HELLO, ("1", "2"))

    assert first.call != other.call


@pytest.mark.parametrize(
    "same",
    [replace(SAMPLING, temperature=1), replace(SAMPLING, top_p=1)],
    ids=["whole temperature", "whole top_p"],
)
async def test_the_same_number_written_otherwise_is_the_same_call(ledger, same):
    buyer = bought(EchoModel(), ledger)
    first = await buyer.complete(HELLO, SAMPLING)

    assert (await buyer.complete(HELLO, same)).call == first.call


async def test_a_greedy_reply_is_bought_once_for_all_seeds(ledger):
    buyer = bought(EchoModel(), ledger)
    greedy = replace(SAMPLING, temperature=0)
    first = await buyer.complete(HELLO, greedy)

    assert (await buyer.complete(HELLO, replace(greedy, seed=99))).call == first.call


async def test_the_order_of_provider_options_makes_no_other_call(ledger):
    one = bought(EchoModel(), ledger, options={"a": 1, "b": 2})
    other = bought(EchoModel(), ledger, options={"b": 2, "a": 1})
    first = await one.complete(HELLO, SAMPLING)

    assert (await other.complete(HELLO, SAMPLING)).call == first.call


async def test_the_ledger_keeps_what_was_really_sent(ledger):
    completion = await bought(EchoModel(), ledger).complete(HELLO, SAMPLING)

    stored = ledger.call(completion.call)
    sent = json.loads(stored.request)
    assert sent["messages"] == [{"role": "user", "content": "Hello 🙂"}]
    assert sent["sampling"]["seed"] == 1
    assert (stored.model, stored.kind, stored.usage) == ("scripted:echo", "complete", Usage(3, 2))


async def test_overload_is_tried_again_with_growing_waits(ledger):
    waits: list[float] = []
    model, tally = EchoModel(faults=[TransientError("busy")] * 3), Tally()

    completion = await bought(model, ledger, tally, backoff=waits_noted_in(waits)).complete(
        HELLO, SAMPLING
    )

    assert completion.text == "Hello 🙂 1"
    assert waits == [1, 2, 4]
    assert tally.total.retries == 3


async def test_no_wait_grows_past_the_cap():
    backoff = Backoff(first=1, longest=5, draw=lambda low, high: high)

    assert [backoff.wait(failed, None) for failed in (1, 3, 4, 50)] == [1, 4, 5, 5]


async def test_a_wait_may_be_any_shorter_one():
    backoff = Backoff(draw=lambda low, high: low)

    assert backoff.wait(5, None) == 0


async def test_the_wait_that_the_provider_asks_for_is_kept(ledger):
    waits: list[float] = []
    model = EchoModel(faults=[TransientError("slow down", retry_after=90)])

    await bought(model, ledger, backoff=waits_noted_in(waits)).complete(HELLO, SAMPLING)

    assert 90 <= waits[0] <= 91


async def test_after_the_last_try_the_error_is_shown_and_the_next_run_asks_anew(ledger):
    model = EchoModel(faults=[TransientError("busy")] * 2)
    buyer = bought(model, ledger, attempts=2, backoff=waits_noted_in([]))
    with pytest.raises(TransientError, match="busy"):
        await buyer.complete(HELLO, SAMPLING)

    assert not (await buyer.complete(HELLO, SAMPLING)).cached


@pytest.mark.parametrize("fault", [PermanentError("wrong key"), RejectedRequest("too long")])
async def test_what_no_second_try_helps_is_tried_once(ledger, fault):
    model = EchoModel(faults=[fault])
    with pytest.raises(type(fault), match=str(fault)):
        await bought(model, ledger).complete(HELLO, SAMPLING)

    assert len(model.asked) == 1


async def test_a_message_with_half_an_emoji_is_rejected_and_not_sent(ledger):
    model = EchoModel()
    with pytest.raises(RejectedRequest, match="message 1 has half a character"):
        await bought(model, ledger).complete((Message("user", "\ud83d"),), SAMPLING)

    assert model.asked == []


async def test_an_answer_of_another_run_is_taken_over_without_a_call(tmp_path, ledger):
    fresh = await bought(EchoModel(), ledger).complete(HELLO, SAMPLING)
    model = EchoModel()
    with Ledger.open(tmp_path / "new.sqlite", reuse=[ledger.path]) as new:
        reused = await bought(model, new).complete(HELLO, SAMPLING)

        assert reused == replace(fresh, cached=True)
        assert new.call(fresh.call) == ledger.call(fresh.call)
    assert model.asked == []


async def test_a_caller_that_gives_up_does_not_lose_the_answer(ledger):
    model = EchoModel()
    buyer = bought(model, ledger)
    caller = asyncio.create_task(buyer.complete(HELLO, SAMPLING))
    while not model.asked:
        await asyncio.sleep(0)
    caller.cancel()
    await ledger.purchases.finish()

    assert (await buyer.complete(HELLO, SAMPLING)).cached


async def test_tokens_are_counted_for_calls_made_now_only(ledger):
    tally = Tally()
    buyer = bought(EchoModel(), ledger, tally, prices=Prices(input=2.0, output=10.0))

    for _ in range(3):
        await buyer.complete(HELLO, SAMPLING)

    assert tally.to_json()["models"]["scripted:echo"] == {
        "made": 1,
        "cached": 2,
        "retries": 0,
        "input_tokens": 3,
        "output_tokens": 2,
        "cost": pytest.approx(26e-6),
    }


async def test_one_call_at_an_unknown_price_makes_the_total_unknown(ledger):
    tally = Tally()
    free = bought(EchoModel(), ledger, tally, prices=Prices(input=0, output=0))
    await free.complete(HELLO, SAMPLING)
    assert tally.total.cost == 0

    await bought(EchoModel(), ledger, tally).complete(HELLO, replace(SAMPLING, seed=9))

    assert tally.total.cost is None


async def test_closing_closes_the_model(ledger):
    model = EchoModel()

    await bought(model, ledger).close()

    assert model.asked == ["closed"]
