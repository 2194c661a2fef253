"""What a server can do wrong, on the wire, and how calls, rows and runs come out of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from cai.engine import Backoff, BoughtModel, Ledger, RowEnded, RowLog, Tally, making, run_rows
from cai.engine.pressure import Pressure
from cai.errors import ModelError, PermanentError, TransientError
from cai.models import ModelSettings, open_model
from cai.models.chat_wire import MISSHAPEN, read_answer, read_completion, retry_after
from cai.records import Completion, Message, RowKey, RowStatus, Sampling
from tests.processes import running

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
ASK = (Message("user", "hello"),)
SAMPLING = Sampling(max_tokens=50)


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


@asynccontextmanager
async def serving(*answers: Answer) -> AsyncGenerator[str, None]:
    """A server that gives these answers in order, and the last of them from then on."""
    left = list(answers)

    async def chat(request: web.Request) -> web.StreamResponse:
        await request.read()
        return await (left.pop(0) if len(left) > 1 else left[0])(request)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def saying(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    body = content if isinstance(content, bytes) else orjson.dumps(content)

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers=headers)

    return answer


def reply(text: Any = "good day", finish: Any = "stop", **others: Any) -> dict[str, Any]:
    choice = {"message": {"content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": 3, "completion_tokens": 5}
    return {"model": "m-2026", "choices": [choice], "usage": usage, **others}


def fault(status: int, words: str = "the provider's words", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return saying({"error": {"message": words}}, status, named)


GOOD = saying(reply())


async def drop(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def half(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"choices"')
    return await drop(request)


async def half_in_chunks(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(b'{"choices"')
    return await drop(request)


async def late(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


async def half_and_then_late(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"choices"')
    return await late(request)


def buyer(url: str, ledger: Ledger, waits: list[float] | None = None, **settings: Any):
    """A bought model whose waits between tries are noted, and are none."""

    async def sleep(seconds: float) -> None:
        if waits is not None:
            waits.append(seconds)

    options = {name: settings.pop(name) for name in ("timeout",) if name in settings}
    model = open_model(ModelSettings(name="openai:m", endpoint=url, **options))
    backoff = Backoff(sleep=sleep, draw=lambda low, high: high)
    return BoughtModel(model, ledger, tally=Tally(), backoff=backoff, **settings)


TRANSIENT: Mapping[str, Answer] = {
    "429": fault(429),
    "429 with seconds": fault(429, Retry_After="0"),
    "429 with a date": fault(429, Retry_After="Mon, 01 Jan 2001 00:00:00 GMT"),
    "429 with a date of no zone": fault(429, Retry_After="Mon, 01 Jan 2001 00:00:00 -0000"),
    "429 with nonsense": fault(429, Retry_After="a while"),
    "500": fault(500),
    "502 in HTML": saying(b"<html>Bad Gateway</html>", 502),
    "503": fault(503),
    "504": fault(504),
    "529": fault(529),
    "dropped": drop,
    "half sent": half,
    "half sent in chunks": half_in_chunks,
    "late": late,
    "half and then late": half_and_then_late,
    "empty": saying(b""),
    "no JSON": saying(b"busy"),
    "half JSON": saying(orjson.dumps(reply())[:40]),
    "a JSON list": saying([]),
    "an error in a success": saying({"error": {"message": "overloaded", "code": 502}}),
    "no choices": saying({"choices": []}),
    "choices of another type": saying({"choices": "none"}),
    "a choice of another type": saying({"choices": [7]}),
    "a message of another type": saying({"choices": [{"message": "x", "finish_reason": "stop"}]}),
    "a content of another type": saying(reply(text={"parts": ["x"]})),
    "no finish": saying(reply(finish=None)),
    "a usage of another type": saying(reply(usage={"prompt_tokens": "many"})),
}


@pytest.mark.parametrize("first", TRANSIENT.values(), ids=TRANSIENT.keys())
async def test_after_a_passing_fault_the_call_is_tried_again_and_answered(ledger, first: Answer):
    async with serving(first, GOOD) as url:
        model = buyer(url, ledger, timeout=0.3)
        completion = await model.complete(ASK, SAMPLING)
        await model.close()

    assert completion.text == "good day"
    assert ledger.call(completion.call) is not None


@pytest.mark.parametrize("bad", TRANSIENT.values(), ids=TRANSIENT.keys())
async def test_a_fault_that_does_not_pass_ends_the_row_and_nothing_of_it_is_kept(ledger, bad):
    async with serving(bad) as url:
        model = buyer(url, ledger, timeout=0.1, attempts=2)
        counts = await rows_of(model, ledger, 1)
        await model.close()

    assert counts == {"error": 1}
    assert [row.calls for row in ledger.rows()] == [()]


async def rows_of(model: BoughtModel | Telling, ledger: Ledger, rows: int, in_flight: int = 8):
    """Rows as the stages make them: a refusal or a cut-off reply ends a row."""

    async def step(number: int, log: RowLog) -> None:
        key = RowKey("response", f"p{number:04}")
        with making(key):
            completion = await model.complete((Message("user", f"prompt {number}"),), SAMPLING)
        ends: dict[str, RowStatus] = {"refusal": "refused", "length": "truncated"}
        if completion.stop_reason in ends:
            raise RowEnded(key, ends[completion.stop_reason], completion.stop_reason)
        await log.ok(key, {"text": completion.text}, (completion.call,))

    return await run_rows(
        range(rows), step, ledger=ledger, in_flight=in_flight, stages=("response",)
    )


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (GOOD, "ok"),
        (saying(reply("", "content_filter")), "refused"),
        (saying({"error": {"code": "content_filter", "message": "policy"}}, 400), "refused"),
        (saying({"error": {"code": "content_policy_violation"}}, 400), "refused"),
        (saying(reply("I was about to", "length")), "truncated"),
        (fault(400, "This model's maximum context length is 10 tokens"), "filtered"),
        (fault(413), "filtered"),
    ],
    ids=["good", "filtered", "Azure's 400", "OpenAI's 400", "cut off", "too long", "too large"],
)
async def test_an_answer_that_is_no_fault_is_kept_as_what_it_is(ledger, answer: Answer, status):
    async with serving(answer) as url:
        model = buyer(url, ledger)
        counts = await rows_of(model, ledger, 1)
        await model.close()

    assert counts == {status: 1}


@pytest.mark.parametrize(
    "answer",
    [
        saying(reply("", "content_filter")),
        saying({"error": {"code": "content_filter", "message": "policy"}}, 400),
    ],
    ids=["filtered", "Azure's 400"],
)
async def test_a_weighing_that_a_filter_took_is_kept_as_a_refusal(ledger, answer: Answer):
    async with serving(answer) as url:
        model = buyer(url, ledger)
        first = await model.weigh(ASK, ("A", "B"))
        again = await model.weigh(ASK, ("A", "B"))
        await model.close()

    assert (first.refused, first.logprobs, first.cached) == (True, (), False)
    assert (again.refused, again.logprobs, again.cached) == (True, (), True)


class Telling:
    """A bought model, and news of its having refused for good."""

    def __init__(self, model: BoughtModel, refused: asyncio.Event) -> None:
        self._model, self._refused = model, refused

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        try:
            return await self._model.complete(messages, sampling)
        except PermanentError:
            self._refused.set()
            raise


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_a_permanent_fault_stops_the_run_at_once_and_calls_under_way_are_kept(
    ledger, status: int
):
    asked: list[str] = []
    all_four_are_there, refused = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        text = (await request.json())["messages"][-1]["content"]
        asked.append(text)
        if len(asked) == 4:
            all_four_are_there.set()
        await asyncio.wait_for(all_four_are_there.wait(), 60)
        if text == "prompt 3":
            return await fault(status)(request)
        await asyncio.wait_for(refused.wait(), 60)
        return await GOOD(request)

    async with serving(answer) as url:
        model = buyer(url, ledger)
        with pytest.raises(PermanentError, match=f"answered {status}: the provider's words"):
            await rows_of(Telling(model, refused), ledger, 100, in_flight=4)
        kept = [
            (await model.complete((Message("user", f"prompt {number}"),), SAMPLING)).cached
            for number in range(3)
        ]
        await model.close()

    assert sorted(asked) == [f"prompt {number}" for number in range(4)]
    assert kept == [True] * 3


@pytest.mark.parametrize(
    ("header", "least"),
    [(lambda: "7", 7), (lambda: formatdate(time.time() + 3600, usegmt=True), 3500)],
    ids=["seconds", "date"],
)
async def test_the_wait_that_a_429_asks_for_is_kept(
    ledger, header: Callable[[], str], least: float
):
    waits: list[float] = []

    async with serving(fault(429, Retry_After=header()), GOOD) as url:
        model = buyer(url, ledger, waits)
        await model.complete(ASK, SAMPLING)
        await model.close()

    assert least <= waits[0] <= least + 102


async def test_waits_without_a_request_for_one_double_up_to_a_minute(ledger):
    waits: list[float] = []

    async with serving(fault(500)) as url:
        model = buyer(url, ledger, waits, attempts=9)
        with pytest.raises(TransientError, match="the provider's words"):
            await model.complete(ASK, SAMPLING)
        await model.close()

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "refusal", "finish_reason", "usage", "logprobs"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, JSON)
def test_whatever_json_comes_is_a_reply_or_a_fault(message: Any, usage: Any):
    content = orjson.dumps(
        {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage},
        option=orjson.OPT_NON_STR_KEYS,
    )

    try:
        completion = read_completion(read_answer(content), "m")
    except (ModelError, *MISSHAPEN):
        return
    assert isinstance(completion.text, str)
    assert completion.usage.input_tokens >= 0


@given(st.text())
def test_whatever_a_retry_after_says_it_is_seconds_or_nothing(text: str):
    seconds = retry_after({"Retry-After": text})

    assert seconds is None or seconds >= 0


@pytest.fixture
def crowded():
    """The address of a server process that takes 8 requests at once and fails one in five."""
    script = Path(__file__).with_name("crowded_server.py")
    command, quiet = [sys.executable, script, "8", "0.2"], subprocess.DEVNULL
    with running(command, stdout=subprocess.PIPE, stderr=quiet) as process:
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip()


def ends_of(server: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{server}/count") as response:
        return json.load(response)


async def test_a_crowded_server_that_fails_one_in_five_is_worked_off_with_few_requests_in_vain(
    ledger, crowded: str
):
    model = open_model(ModelSettings(name="openai:m", endpoint=f"{crowded}/v1"))
    pressure = Pressure(64)
    backoff = Backoff(first=0.05)
    bought = BoughtModel(model, ledger, tally=Tally(), backoff=backoff, pressure=pressure)

    counts = await rows_of(bought, ledger, 1000, in_flight=64)

    await bought.close()
    ends = ends_of(crowded)
    assert counts == {"ok": 1000}
    assert ends["answered"] == 1000
    assert ends["most at once"] == 8
    assert 150 < ends["failed"] < 400
    # While 64 at once fall to 8 by 0.7 a round, and then now and then one.
    assert ends["refused"] < 64 / 0.3 + 100
