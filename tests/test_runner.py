"""Rows advance on their own, few at a time, and each ends in one way."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cai.engine import BoughtModel, Ledger, RowEnded, RowLog, Tally, making, run_rows
from cai.errors import PermanentError, RejectedRequest, TransientError
from cai.records import Completion, Message, RowKey, Sampling, Usage


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


def key(name: str, round_number: int = 0) -> RowKey:
    return RowKey("response", name, round_number)


async def answer(name: str, log: RowLog) -> None:
    await log.ok(key(name), {"text": name}, (f"call-{name}",))


async def sweep(items, step, ledger: Ledger, in_flight: int = 4):
    return await run_rows(items, step, ledger=ledger, in_flight=in_flight, stages=("response",))


def ends(ledger: Ledger) -> list[tuple[str, int, str, str]]:
    rows = ledger.rows()
    return [(row.key.prompt_id, row.key.round, row.status, row.reason) for row in rows]


async def test_every_item_ends_as_a_row(ledger):
    names = [f"p{number}" for number in range(100)]

    counts = await sweep(names, answer, ledger, in_flight=7)

    assert counts == {"ok": 100}
    assert {row.key.prompt_id: row.record for row in ledger.rows()} == {
        name: {"text": name} for name in names
    }


async def test_items_may_come_one_by_one_from_an_async_source(ledger):
    async def source() -> AsyncIterator[str]:
        for number in range(20):
            await asyncio.sleep(0)
            yield f"p{number}"

    assert await sweep(source(), answer, ledger) == {"ok": 20}


async def test_no_more_items_are_taken_up_than_may_be_in_flight(ledger):
    taken, finished, most = 0, 0, 0

    def source() -> Iterator[str]:
        nonlocal taken, most
        for number in range(50):
            taken += 1
            most = max(most, taken - finished)
            yield f"p{number}"

    async def step(name: str, log: RowLog) -> None:
        nonlocal finished
        await asyncio.sleep(0)
        finished += 1

    await sweep(source(), step, ledger, in_flight=5)

    assert most == 5


async def test_a_row_does_not_wait_for_the_others(ledger):
    last_came = asyncio.Event()

    async def step(name: str, log: RowLog) -> None:
        if name == "first":
            await last_came.wait()
        if name == "last":
            last_came.set()
        await answer(name, log)

    assert await sweep(["first", "second", "last"], step, ledger, in_flight=2) == {"ok": 3}


@pytest.mark.parametrize("status", ["refused", "unparsed", "truncated", "filtered"])
async def test_a_row_ends_with_its_status_and_reason_and_keeps_what_was_finished(ledger, status):
    async def step(name: str, log: RowLog) -> None:
        await log.ok(key(name, 0), {"text": "a reply"}, ())
        raise RowEnded(key(name, 1), status, "because")

    counts = await sweep(["p"], step, ledger)

    assert ends(ledger) == [("p", 0, "ok", ""), ("p", 1, status, "because")]
    assert counts == {"ok": 1, status: 1}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RejectedRequest("too long: 9,000 of 8,192 tokens"), "filtered"),
        (TransientError("no answer after 6 tries"), "error"),
    ],
)
async def test_a_call_that_failed_ends_the_row_it_was_made_for(ledger, error, status):
    async def step(name: str, log: RowLog) -> None:
        if name == "bad":
            with making(key(name)):
                raise error
        await answer(name, log)

    await sweep(["good", "bad", "other"], step, ledger)

    assert ends(ledger) == [
        ("bad", 0, status, str(error)),
        ("good", 0, "ok", ""),
        ("other", 0, "ok", ""),
    ]


async def test_a_log_can_end_a_row(ledger):
    async def step(name: str, log: RowLog) -> None:
        log.end(key(name), "filtered", "both replies are identical")

    await sweep(["p"], step, ledger)

    assert ends(ledger) == [("p", 0, "filtered", "both replies are identical")]


async def test_an_early_end_is_never_ok():
    with pytest.raises(ValueError, match="cannot be ok"):
        RowEnded(key("p"), "ok", "")


class GatedModel:
    """Answers when its gate opens; the request "bad" fails for good, once all have come."""

    identity = "scripted:gated"

    def __init__(self, expected: int) -> None:
        self.asked = 0
        self.expected = expected
        self.all_came = asyncio.Event()
        self.gate = asyncio.Event()

    async def complete(self, messages, sampling):
        self.asked += 1
        if self.asked == self.expected:
            self.all_came.set()
        if messages[-1].content == "bad":
            await self.all_came.wait()
            asyncio.get_running_loop().call_later(0.05, self.gate.set)
            raise PermanentError("401: wrong key")
        await self.gate.wait()
        return Completion("yes", "stop", Usage(1, 1), "gated")

    async def weigh(self, messages, options):
        raise NotImplementedError

    async def close(self):
        pass


def asking(model: GatedModel, ledger: Ledger):
    buyer = BoughtModel(model, ledger, tally=Tally())

    async def step(name: str, log: RowLog) -> None:
        with making(key(name)):
            completion = await buyer.complete((Message("user", name),), Sampling())
        await log.ok(key(name), {"text": completion.text}, (completion.call,))

    return step, buyer


async def test_a_permanent_error_takes_no_new_item_and_keeps_the_calls_under_way(ledger):
    model = GatedModel(expected=4)
    step, buyer = asking(model, ledger)
    with pytest.raises(PermanentError, match="401"):
        await sweep(["p1", "p2", "p3", "bad", "p5", "p6"], step, ledger, in_flight=4)

    assert model.asked == 4
    kept = [await buyer.complete((Message("user", name),), Sampling()) for name in ("p1", "p3")]
    assert [completion.cached for completion in kept] == [True, True]


async def test_a_stopped_run_removes_no_row_of_the_run_before(ledger):
    await sweep(["old"], answer, ledger)

    with pytest.raises(PermanentError):
        await sweep(["bad"], asking(GatedModel(1), ledger)[0], ledger)

    assert ends(ledger) == [("old", 0, "ok", "")]


async def test_cancelling_lets_calls_under_way_be_answered_and_kept(ledger):
    model = GatedModel(expected=2)
    step, buyer = asking(model, ledger)
    run = asyncio.create_task(sweep(["p1", "p2", "p3"], step, ledger, in_flight=2))
    await model.all_came.wait()
    run.cancel()
    asyncio.get_running_loop().call_later(0.05, model.gate.set)
    with pytest.raises(asyncio.CancelledError):
        await run

    assert model.asked == 2
    assert (await buyer.complete((Message("user", "p2"),), Sampling())).cached


async def test_cancelling_cuts_the_waits_between_tries_short(ledger):
    model = FailingModel()
    step, _ = asking(model, ledger)
    run = asyncio.create_task(sweep(["p1"], step, ledger))
    await model.failed.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(run, timeout=10)

    assert run.cancelled()


class FailingModel(GatedModel):
    """Asks for an hour's patience at every call."""

    def __init__(self) -> None:
        super().__init__(expected=1)
        self.failed = asyncio.Event()

    async def complete(self, messages, sampling):
        asyncio.get_running_loop().call_later(0.05, self.failed.set)
        raise TransientError("come back in an hour", retry_after=3600)


async def test_a_bug_stops_the_run_and_keeps_its_own_type(ledger):
    async def step(name: str, log: RowLog) -> None:
        if name == "p2":
            raise ZeroDivisionError("a bug")
        await answer(name, log)

    with pytest.raises(ZeroDivisionError):
        await sweep([f"p{number}" for number in range(100)], step, ledger)


async def test_a_fault_of_the_source_stops_the_run(ledger):
    def source() -> Iterator[str]:
        yield "p1"
        raise OSError("the file went away")

    with pytest.raises(OSError, match="went away"):
        await sweep(source(), answer, ledger)


async def test_rows_that_a_later_run_no_longer_makes_are_removed(ledger):
    await sweep(["p1", "p2", "p3"], answer, ledger)

    await sweep(["p2", "p4"], answer, ledger)

    assert [name for name, *_ in ends(ledger)] == ["p2", "p4"]


async def test_two_items_that_make_the_same_row_are_a_bug(ledger):
    with pytest.raises(ValueError, match="made twice"):
        await sweep(["p1", "p1"], answer, ledger)


async def test_a_row_of_a_stage_that_is_not_run_is_a_bug(ledger):
    async def step(name: str, log: RowLog) -> None:
        await log.ok(RowKey("comparison", name), {}, ())

    with pytest.raises(ValueError, match="'comparison' in a sweep over response"):
        await sweep(["p1"], step, ledger)


async def test_nothing_can_be_run_without_a_place():
    with pytest.raises(ValueError, match="at least 1"):
        await run_rows([], answer, ledger=None, in_flight=0, stages=())
