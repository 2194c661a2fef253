"""What goes wrong between here and Anthropic, over the real SDK, and what is never told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from cai.errors import ModelError, PermanentError, RejectedRequest, TransientError
from cai.models import ModelSettings, open_model
from tests.fake_anthropic import ASK, KEY, PLAIN, Answer, error, fake_anthropic, message


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)


@asynccontextmanager
async def answering(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]):
    """A server whose connections a test handles itself."""
    app = web.Application()
    app.router.add_post("/v1/messages", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def ask(url: str, **options: Any) -> Any:
    settings = {"name": "anthropic:claude-opus-5", "endpoint": url, "api_key_env": "TEST_KEY"}
    model = open_model(ModelSettings.model_validate(settings | options))
    try:
        return await model.complete(ASK, PLAIN)
    finally:
        await model.close()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(400, "invalid_request_error", "max_tokens: 10 > 5, the maximum"), PermanentError),
        (error(400, "invalid_request_error", "Your credit balance is too low"), PermanentError),
        (error(401, "authentication_error", "invalid x-api-key"), PermanentError),
        (error(402, "billing_error", "pay first"), PermanentError),
        (error(403, "permission_error", "not yours"), PermanentError),
        (error(404, "not_found_error", "model: claude-none"), PermanentError),
        (error(400, "invalid_request_error", "prompt is too long: 9 > 8"), RejectedRequest),
        (
            error(400, "invalid_request_error", "input length and `max_tokens` exceed context lim"
                  "it: 190000 + 20000 > 200000, decrease input length"),
            RejectedRequest,
        ),
        (error(413, "request_too_large", "over 32 MB"), RejectedRequest),
        (error(408, "timeout_error", "too slow"), TransientError),
        (error(409, "conflict_error", "try again"), TransientError),
        (error(429, "rate_limit_error", "slow down"), TransientError),
        (error(500, "api_error", "ours"), TransientError),
        (error(504, "timeout_error", "too slow"), TransientError),
        (error(529, "overloaded_error", "Overloaded"), TransientError),
        (Answer(b"<html>bad gateway</html>", 502), TransientError),
        (Answer(b"[]", 418), PermanentError),
    ],
)  # fmt: skip
async def test_each_error_is_of_its_kind_and_says_what_the_provider_said(
    answer: Answer, kind: type[ModelError]
):
    async with fake_anthropic(answer) as fake:
        with pytest.raises(ModelError, match=f"answered {answer.status}") as raised:
            await fake.complete()

    assert type(raised.value) is kind
    if isinstance(answer.body, dict):
        assert f"{answer.body['error']['message']} ({answer.body['error']['type']}, req_1)" in str(
            raised.value
        )


@pytest.mark.parametrize(
    ("answer", "wait", "cause"),
    [
        (error(429, "rate_limit_error", "slow down", retry_after="7"), 7, "overload"),
        (error(529, "overloaded_error", "Overloaded", retry_after="0.5"), 0.5, "overload"),
        (error(529, "overloaded_error", "Overloaded"), None, "overload"),
        (error(500, "api_error", "ours", retry_after="3"), 3, "fault"),
    ],
)
async def test_the_wait_that_is_asked_for_is_handed_on_and_not_waited_here(
    answer: Answer, wait: float | None, cause: str
):
    async with fake_anthropic(answer) as fake:
        with pytest.raises(TransientError) as raised:
            await fake.complete()

    assert (raised.value.retry_after, raised.value.cause) == (wait, cause)
    assert len(fake.bodies) == 1


@pytest.mark.parametrize("code", ["contract_spend_limit_reached", "enforced_spend_limit_reached"])
async def test_a_spend_limit_is_no_rate_that_recovers(code: str):
    async with fake_anthropic(error(429, "rate_limit_error", "spent", code)) as fake:
        with pytest.raises(PermanentError, match="spent"):
            await fake.complete()


async def test_a_reply_that_a_filter_took_is_a_refusal():
    words = "Output blocked by content filtering policy"

    async with fake_anthropic(error(400, "invalid_request_error", words)) as fake:
        completion = await fake.complete()

    assert (completion.text, completion.stop_reason) == ("", "refusal")


@pytest.mark.parametrize(
    "body",
    [
        b"<html>busy</html>",
        b"",
        b"[]",
        {"choices": []},
        {**message("x").body, "content": "x"},
        {**message("x").body, "content": [{"type": "text", "text": None}]},
        {**message("x").body, "usage": {"input_tokens": -1}},
        {**message("x").body, "usage": None},
    ],
)
async def test_an_answer_that_is_no_message_is_transient(body: Any):
    async with fake_anthropic(Answer(body)) as fake:
        with pytest.raises(TransientError):
            await fake.complete()


async def test_a_dropped_connection_is_transient():
    async def drop(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with answering(drop) as url:
        with pytest.raises(TransientError, match=r"http://127\.0\.0\.1") as raised:
            await ask(url)

    assert raised.value.cause == "fault"


async def test_a_half_sent_answer_is_transient():
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"content"')
        assert request.transport is not None
        request.transport.abort()
        return response

    async with answering(half) as url:
        with pytest.raises(TransientError):
            await ask(url)


async def test_a_server_that_is_not_there_is_unreachable():
    async with fake_anthropic() as fake:
        pass

    with pytest.raises(TransientError, match=r"http://127\.0\.0\.1") as raised:
        await fake.complete()

    assert raised.value.cause == "unreachable"


async def test_a_late_answer_is_transient():
    released = asyncio.Event()

    async def late(request: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.Response()

    async with answering(late) as url:
        with pytest.raises(TransientError, match=r"did not answer within 0\.05 s") as raised:
            await ask(url, timeout=0.05)
        released.set()

    assert raised.value.cause == "overload"


async def test_a_redirect_is_refused_so_that_the_key_stays_home():
    async with fake_anthropic() as thief:
        target = {"Location": f"{thief.url}/v1/messages"}
        async with fake_anthropic(Answer(b"", 307, target)) as fake:
            with pytest.raises(PermanentError, match="redirects to"):
                await fake.complete()

    assert thief.bodies == []


async def test_a_key_goes_to_the_server_that_the_settings_name_it_for():
    async with fake_anthropic(message("hi")) as fake:
        await fake.complete()

    assert fake.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("variable", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
async def test_anthropics_own_key_goes_to_no_other_server(
    variable: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(variable, "secret")

    async with fake_anthropic(message("hi")) as fake:
        await fake.complete(api_key_env=None)

    assert not {"Authorization", "X-Api-Key"} & fake.headers[0].keys()


async def test_no_variable_of_the_sdk_moves_the_calls_to_another_address(
    monkeypatch: pytest.MonkeyPatch,
):
    async with fake_anthropic() as thief, fake_anthropic(message("hi")) as fake:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", thief.url)
        await fake.complete()

    assert thief.bodies == []


async def test_a_missing_key_is_refused_with_the_command_that_sets_it(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)

    with pytest.raises(PermanentError, match="export ANTHROPIC_API_KEY="):
        await open_model(ModelSettings(name="anthropic:claude-opus-5")).complete(ASK, PLAIN)


@pytest.mark.parametrize(
    "answer",
    [
        error(401, "authentication_error", f"the key {KEY} is unknown"),
        error(429, "rate_limit_error", f"{KEY} asks too much"),
        error(400, "invalid_request_error", f"prompt is too long for {KEY}"),
        error(400, "invalid_request_error", f"no prefill for {KEY}"),
        Answer(f"<html>{KEY}</html>".encode(), 502),
        Answer(f"not JSON, but {KEY}".encode()),
        message("x", stop_reason=KEY),
    ],
)
async def test_a_key_that_a_server_repeats_is_in_no_error_and_no_log(
    answer: Answer, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)

    async with fake_anthropic(answer) as fake:
        model = fake.model()
        with pytest.raises(ModelError) as raised:
            await model.complete(ASK, PLAIN)
        await model.close()

    told = (str(raised.value), repr(raised.value), repr(model), model.identity, caplog.text)
    assert KEY not in " ".join(told)


async def test_a_key_that_stands_in_a_redirect_is_not_told():
    target = {"Location": f"http://elsewhere/?key={KEY}"}

    async with fake_anthropic(Answer(b"", 302, target)) as fake:
        with pytest.raises(PermanentError, match=r"key=\[key\]"):
            await fake.complete()
