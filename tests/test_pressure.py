"""What a model is asked at once and per minute, on a clock that jumps to the next event."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.engine.concurrency import Concurrency
from cai.engine.need import Need, need_of
from cai.engine.pressure import Pressure
from cai.engine.rates import MINUTE, AnnouncedRate, PerMinute
from cai.errors import TransientError
from cai.models.limits import Allowance, Announced
from cai.records import Message, Usage


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when nothing else is to be done."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0]._when)
        super()._run_once()


def in_jumping_time(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(work())


def now() -> float:
    return asyncio.get_running_loop().time()


def pressure(in_flight: int = 64, **settings: Any) -> Pressure:
    return Pressure(in_flight, Allowance(**settings), clock=now)


async def let_in(gate: Pressure, need: Need | None = None) -> Any:
    need = need or Need()
    return gate.admit_now(need) or await gate.admit(need)


@dataclass
class Server:
    """Answers after a while, refusing what is over its slots; counts both."""

    slots: int
    seconds: float = 1.0
    retry_after: float | None = None
    busy: int = 0
    answered: int = 0
    refused: int = 0
    most_at_once: int = 0
    times: list[float] = field(default_factory=list)

    async def ask(self) -> None:
        self.times.append(now())
        if self.busy >= self.slots:
            self.refused += 1
            await asyncio.sleep(0.05)
            raise TransientError("429", self.retry_after, "overload")
        self.busy += 1
        self.most_at_once = max(self.most_at_once, self.busy)
        await asyncio.sleep(self.seconds)
        self.busy -= 1
        self.answered += 1


async def call(gate: Pressure, ask: Callable[[], Awaitable[None]], rest: float = 1.0) -> None:
    """One call as the engine makes it: tried until it is answered."""
    while True:
        try:
            with await let_in(gate):
                await ask()
            return
        except TransientError as error:
            await asyncio.sleep(error.retry_after or rest)


async def work_off(
    calls: int, rows: int, gate: Pressure, ask: Callable[[], Awaitable[None]]
) -> None:
    """Make calls by rows, each of which makes one after the other."""
    left = iter(range(calls))

    async def row() -> None:
        for _ in left:
            await call(gate, ask)

    await asyncio.gather(*(row() for _ in range(rows)))


def most_in_a_minute(times: Sequence[float], amounts: Sequence[float]) -> float:
    """The largest sum of amounts in any half-open 60 seconds."""
    return max(
        sum(amount for time, amount in zip(times, amounts, strict=True) if begin <= time < end)
        for begin, end in ((time, time + MINUTE) for time in times)
    )


AMOUNTS = st.lists(st.integers(1, 50), min_size=1, max_size=80)
PAUSES = st.lists(st.floats(0, 30), min_size=80, max_size=80)


@given(limit=st.integers(50, 400), amounts=AMOUNTS, pauses=PAUSES)
def test_no_more_than_the_limit_is_taken_in_any_minute(limit, amounts, pauses):
    rate, clock, times = PerMinute(limit), 0.0, []

    for amount, pause in zip(amounts, pauses, strict=False):
        clock += pause
        while (wait := rate.wait(amount, clock)) > 0:
            clock += wait
        rate.take(amount, clock)
        times.append(clock)

    assert most_in_a_minute(times, amounts) <= limit


@given(limit=st.integers(1, 1000))
def test_as_much_as_the_limit_is_taken_when_much_is_wanted(limit: int):
    rate, clock, taken = PerMinute(limit), 0.0, 0

    while clock < 10 * MINUTE:
        if (wait := rate.wait(1, clock)) > 0:
            clock += wait
        else:
            rate.take(1, clock)
            taken += 1

    assert 9.5 * limit <= taken <= 10 * limit + 1


def test_an_amount_over_the_whole_limit_is_taken_alone():
    rate = PerMinute(100)
    assert rate.wait(500, 0.0) == 0
    rate.take(500, 0.0)

    assert rate.wait(500, 1.0) >= 59


def test_a_call_that_used_less_than_was_thought_leaves_the_rest_to_others():
    rate = PerMinute(100)
    taken = rate.take(100, 0.0)
    assert rate.wait(50, 0.0) > 50

    rate.correct(taken, -80)

    assert rate.wait(50, 12.0) == 0
    assert rate.wait(81, 12.0) > 0


def test_what_lies_over_a_minute_back_is_corrected_no_more():
    rate = PerMinute(100)
    taken = rate.take(100, 0.0)
    assert rate.wait(100, MINUTE) == 0

    rate.correct(taken, 1000)

    assert rate.wait(100, MINUTE) == 0


def test_a_providers_figures_grow_back_evenly_until_they_are_whole():
    rate = AnnouncedRate(Announced("requests", 60, 0, 60), since=0, now=100.0)

    assert rate.wait(1, 100.0) == pytest.approx(1)
    assert rate.wait(5, 102.0) == pytest.approx(3)
    assert rate.wait(99, 160.0) == 0


def test_what_was_sent_after_the_answered_request_is_taken_off_the_providers_figure():
    rate = AnnouncedRate(Announced("requests", 60, 10, 50), since=10, now=0.0)

    assert rate.wait(1, 0.0) == pytest.approx(1)


async def test_where_nothing_holds_back_a_try_is_let_in_at_once():
    gate = pressure(2)

    with gate.admit_now(Need()), gate.admit_now(Need()):
        assert gate.active == 2
        assert gate.admit_now(Need()) is None

    assert gate.active == 0


@given(at_once=st.integers(1, 8), seconds=st.lists(st.floats(0, 5), min_size=1, max_size=40))
def test_never_more_than_the_given_concurrency_is_under_way(at_once: int, seconds: list[float]):
    async def work() -> int:
        gate, busy, most = pressure(64, concurrency=at_once), 0, 0

        async def one(length: float) -> None:
            nonlocal busy, most
            with await let_in(gate):
                busy += 1
                most = max(most, busy)
                await asyncio.sleep(length)
                busy -= 1

        await asyncio.gather(*(one(length) for length in seconds))
        return most

    assert in_jumping_time(work) == min(at_once, len(seconds))


def test_calls_are_let_in_in_the_order_in_which_they_came():
    async def work() -> list[int]:
        gate, order = pressure(1, concurrency=1), []

        async def one(number: int) -> None:
            with await let_in(gate):
                order.append(number)
                await asyncio.sleep(1)

        await asyncio.gather(*(one(number) for number in range(10)))
        return order

    assert in_jumping_time(work) == list(range(10))


@given(limit=st.integers(1, 100), rows=st.integers(1, 40))
def test_no_more_requests_are_sent_in_any_minute_than_were_allowed(limit: int, rows: int):
    async def work() -> list[float]:
        server = Server(slots=1000, seconds=0.3)
        gate = pressure(64, requests_per_minute=limit)
        await work_off(2 * limit + 5, rows, gate, server.ask)
        return server.times

    times = in_jumping_time(work)
    assert most_in_a_minute(times, [1] * len(times)) <= limit


def test_tokens_are_paced_by_what_calls_really_used():
    async def work() -> float:
        gate = pressure(8, output_tokens_per_minute=6000)

        async def one() -> None:
            with await let_in(gate, Need(1, 10, 1000)) as admission:
                await asyncio.sleep(0.1)
                admission.usage = Usage(10, 100)

        for _ in range(120):
            await one()
        return now()

    # 120 calls of 100 tokens are two minutes' worth; by the estimate they would be twenty.
    assert in_jumping_time(work) == pytest.approx(120, abs=30)


def test_a_retry_after_pauses_the_calls_of_all_rows():
    async def work() -> list[float]:
        gate, times = pressure(8), []

        async def busy_at_first() -> None:
            times.append(now())
            if len(times) == 1:
                raise TransientError("429", retry_after=30, cause="overload")
            await asyncio.sleep(1)

        first = asyncio.create_task(call(gate, busy_at_first))
        await asyncio.sleep(1)
        await asyncio.gather(first, *(call(gate, busy_at_first) for _ in range(3)))
        return times

    first, *others = in_jumping_time(work)
    assert first == 0
    assert min(others) == pytest.approx(30)


def test_a_fault_of_one_call_holds_no_other_back():
    async def work() -> float:
        gate = pressure(8)
        with pytest.raises(TransientError), await let_in(gate):
            raise TransientError("500", retry_after=30, cause="fault")
        await asyncio.gather(*(call(gate, Server(8).ask) for _ in range(8)))
        return now()

    assert in_jumping_time(work) == 1


def work_off_a_small_server(calls: int, slots: int, in_flight: int) -> tuple[Server, float]:
    server = Server(slots)

    async def work() -> float:
        await work_off(calls, in_flight, pressure(in_flight), server.ask)
        return now()

    return server, in_jumping_time(work)


@pytest.mark.parametrize(("slots", "in_flight"), [(8, 64), (8, 256), (30, 64), (1, 64)])
def test_calls_at_once_fall_to_what_the_server_takes_and_stay_near_it(slots: int, in_flight: int):
    server, seconds = work_off_a_small_server(2000, slots, in_flight)

    assert server.answered == 2000
    # While the limit falls by 0.7 from in_flight: in_flight / 0.3; then few.
    assert server.refused < in_flight / 0.3 + 150
    assert seconds < 1.15 * 2000 / slots


def test_a_server_that_grows_is_asked_more():
    server = Server(slots=8)

    async def work() -> None:
        gate = pressure(64)
        await work_off(1000, 64, gate, server.ask)
        server.slots, server.most_at_once = 48, 0
        await work_off(4000, 64, gate, server.ask)

    in_jumping_time(work)
    assert server.most_at_once == 48


def test_one_overload_lowers_the_limit_once_however_many_calls_it_met():
    limit = Concurrency(64)

    lowered = [limit.overloaded(number, 64, admitted=64) for number in range(1, 65)]

    assert sum(lowered) == 1
    assert limit.limit == 44


def test_calls_at_once_never_fall_below_one():
    limit = Concurrency(2)

    for number in range(1, 20):
        limit.overloaded(number, 1, admitted=number)

    assert limit.limit == 1


def test_answers_to_calls_made_before_an_overload_do_not_raise_the_limit():
    limit = Concurrency(64)
    limit.overloaded(1, 64, admitted=64)

    for number in range(2, 65):
        limit.answered(number, admitted=64, seconds=1.0, now=1.0)

    assert limit.limit == 44


def test_a_server_that_never_refuses_is_asked_all_that_rows_want():
    server = Server(slots=1000)

    async def work() -> float:
        await work_off(2000, 128, pressure(64), server.ask)
        return now()

    assert in_jumping_time(work) < 20
    assert server.most_at_once == 128


@dataclass
class Queueing(Server):
    """Refuses nothing: what is over its slots waits its turn."""

    turns: asyncio.Semaphore | None = None

    async def ask(self) -> None:
        self.turns = self.turns or asyncio.Semaphore(self.slots)
        self.busy += 1
        self.most_at_once = max(self.most_at_once, self.busy)
        async with self.turns:
            await asyncio.sleep(self.seconds)
        self.busy -= 1


def test_a_server_that_only_gets_slower_is_not_asked_ever_more():
    server = Queueing(slots=16)

    async def work() -> None:
        gate = pressure(16)
        await work_off(100, 16, gate, server.ask)
        await work_off(2000, 400, gate, server.ask)

    in_jumping_time(work)
    assert server.most_at_once < 200


def test_long_replies_after_short_ones_are_asked_as_many_at_once():
    server = Server(slots=1000, seconds=0.1)

    async def work() -> float:
        gate = pressure(32)
        await work_off(2000, 32, gate, server.ask)
        gate._concurrency.overloaded(gate._admitted + 1, 8, gate._admitted)
        server.seconds = 10.0
        began = now()
        await work_off(3000, 64, gate, server.ask)
        return now() - began

    # All 64 at once would take 470 seconds, and the 4 at first 7,500.
    assert in_jumping_time(work) < 1500


@dataclass
class Away(Server):
    """Cannot be reached until a time."""

    back_at: float = 0.0

    async def ask(self) -> None:
        if now() < self.back_at:
            self.times.append(now())
            raise TransientError("refused", cause="unreachable")
        await super().ask()


def test_a_server_that_is_away_is_asked_ever_more_seldom_and_then_as_before():
    server = Away(slots=64, back_at=3600.0)

    async def work() -> float:
        gate = pressure(64)
        await work_off(3000, 64, gate, server.ask)
        return now() - server.back_at

    late = in_jumping_time(work)
    before = [time for time in server.times if time < server.back_at]
    # About 213 while 64 calls at once fall to one, and then about one a minute.
    assert len(before) < 213 + 80
    assert late < 60 + 1.5 * 3000 / 64


def test_what_headers_tell_is_believed():
    async def work() -> list[float]:
        gate, times = pressure(64), []

        async def ask() -> None:
            times.append(now())
            await asyncio.sleep(0.5)
            left = max(0, 10 - len(times))
            gate.note_limits([Announced("requests", 10, left, 6.0 * len(times))])

        await work_off(30, 4, gate, ask)
        return times

    times = in_jumping_time(work)
    assert sum(time < 5 for time in times) <= 12
    assert times[-1] > 60


def test_headers_that_tell_of_plenty_hold_nothing_back():
    async def work() -> float:
        gate = pressure(64)

        async def ask() -> None:
            await asyncio.sleep(1)
            gate.note_limits([Announced("requests", 10_000, 9_990, 0.06)])
            gate.note_limits([Announced("tokens", 2_000_000, 1_999_000, 0.03)])

        await work_off(640, 64, gate, ask)
        return now()

    assert in_jumping_time(work) == 10


def test_what_holds_calls_back_is_told_and_taken_back():
    words: list[str] = []

    async def work() -> None:
        allowance = Allowance(requests_per_minute=6)
        gate = Pressure(8, allowance, tell=words.append, clock=now)
        await asyncio.gather(*(call(gate, Server(8).ask) for _ in range(2)))

    in_jumping_time(work)
    assert words[0] == "6 requests per minute"
    assert words[-1] == ""


def test_a_call_that_gives_up_waiting_holds_no_place():
    async def work() -> None:
        gate = pressure(1, concurrency=1)
        with gate.admit_now(Need()):
            waiting = [asyncio.create_task(gate.admit(Need())) for _ in range(3)]
            await asyncio.sleep(1)
            waiting[0].cancel()
            waiting[2].cancel()
        with await waiting[1]:
            assert gate.active == 1
        assert gate.admit_now(Need()) is not None

    in_jumping_time(work)


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_an_estimate_is_above_the_tokens_of_words_and_below_the_bytes(texts: list[str]):
    messages = [Message("user", text) for text in texts]

    need = need_of(messages, 100)

    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    assert size // 3 <= need.input_tokens <= size + 8 * len(texts)
    assert need.output_tokens == 100


@dataclass
class Flaky(Server):
    """Says at random that it is overloaded, whatever the load."""

    share: float = 0.1
    random: Random = field(default_factory=lambda: Random(0))

    async def ask(self) -> None:
        await asyncio.sleep(self.seconds)
        if self.random.random() < self.share:
            self.refused += 1
            raise TransientError("503", self.retry_after, "overload")
        self.answered += 1


@pytest.mark.parametrize("share", [0.01, 0.05, 0.15])
def test_overloads_that_come_whatever_the_load_do_not_slow_a_run_for_long(share: float):
    server = Flaky(slots=64, share=share)

    async def work() -> float:
        await work_off(20_000, 64, pressure(64), server.ask)
        return now()

    ideal = 20_000 / 64 * (1 + 2 * share)
    assert in_jumping_time(work) < 1.6 * ideal


def test_one_who_asks_to_wait_whatever_the_load_is_waited_for_by_his_own_call_only():
    server = Flaky(slots=64, share=0.1, retry_after=5.0)

    async def work() -> float:
        await work_off(20_000, 64, pressure(64), server.ask)
        return now()

    # With a pause of all for each, about 40 calls would be answered in 6 seconds.
    assert in_jumping_time(work) < 1000


def test_a_flaky_server_that_becomes_small_is_asked_less():
    server = Flaky(slots=64, share=0.05)

    async def work() -> None:
        gate = pressure(64)
        await work_off(5_000, 64, gate, server.ask)
        small = Server(slots=8)
        await work_off(2_000, 64, gate, small.ask)
        assert small.refused < 1000

    in_jumping_time(work)
