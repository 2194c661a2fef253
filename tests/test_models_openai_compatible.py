"""The OpenAI-compatible adapter against a loopback server that says what each test needs."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import orjson
import pytest
from aiohttp import web

from cai.errors import ModelError, PermanentError, RejectedRequest, TransientError
from cai.models import ModelSettings, open_model
from cai.models.openai_compatible import Endpoint, OpenAICompatibleModel
from cai.records import Message, Sampling
from tests.wire_server import Server, answering, saying

ASK = [Message("user", "hello")]
PREFILLED = [*ASK, Message("assistant", "Well")]
SAMPLING = Sampling(temperature=0.5, top_p=0.9, max_tokens=7, stop=("END",), seed=42)


def reply(text: str | None = "hi", finish: str = "stop", **message: Any) -> dict[str, Any]:
    choice = {"message": {"content": text, **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 3, "completion_tokens": 5}
    return {"model": "m-2026", "choices": [choice], "usage": usage}


def weighed(**tokens: float) -> dict[str, Any]:
    top = [{"token": token, "logprob": math.log(p)} for token, p in tokens.items()]
    content = [{"token": top[0]["token"], "logprob": top[0]["logprob"], "top_logprobs": top}]
    choice = {"message": {"content": "A"}, "finish_reason": "length"}
    return {"choices": [{**choice, "logprobs": {"content": content}}]}


async def complete(server: Server, name: str = "openai:m", **options: Any) -> Any:
    model = server.model(name, **options)
    try:
        return await model.complete(ASK, SAMPLING)
    finally:
        await model.close()


async def weigh(server: Server, options: tuple[str, ...] = ("A", "B"), **settings: Any) -> Any:
    model = server.model(**settings)
    try:
        return await model.weigh(ASK, options)
    finally:
        await model.close()


async def test_a_request_says_all_of_its_sampling():
    async with answering(saying(reply())) as server:
        await complete(server)

    assert server.bodies == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "hello"}],
            "temperature": 0.5,
            "top_p": 0.9,
            "max_tokens": 7,
            "stop": ["END"],
            "seed": 42,
        }
    ]


async def test_vllm_is_kept_from_the_models_own_sampling_defaults():
    async with answering(saying(reply())) as server:
        await complete(server, "vllm:m")

    neutral = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
    assert neutral.items() <= server.bodies[0].items()


async def test_a_reply_is_read_with_its_usage_and_the_models_reported_name():
    async with answering(saying(reply("good day"))) as server:
        completion = await complete(server)

    assert (completion.text, completion.stop_reason, completion.model) == (
        "good day",
        "stop",
        "m-2026",
    )
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (3, 5)


async def test_tokens_read_from_and_written_to_the_providers_cache_are_counted_apart():
    details = {"cached_tokens": 20, "cache_write_tokens": 8}
    usage = {"prompt_tokens": 30, "completion_tokens": 5, "prompt_tokens_details": details}

    async with answering(saying({**reply(), "usage": usage})) as server:
        counted = (await complete(server)).usage

    assert (counted.input_tokens, counted.cached_tokens, counted.cache_write_tokens) == (30, 20, 8)


@pytest.mark.parametrize(
    ("answer", "stop_reason", "text"),
    [
        (reply("half", "length"), "length", "half"),
        (reply("", "content_filter"), "refusal", ""),
        (reply(None, "stop", refusal="I will not."), "refusal", "I will not."),
        (reply("", "stop"), "stop", ""),
    ],
)
async def test_refused_cut_off_and_empty_replies_are_told_apart(
    answer: dict[str, Any], stop_reason: str, text: str
):
    async with answering(saying(answer)) as server:
        completion = await complete(server)

    assert (completion.stop_reason, completion.text) == (stop_reason, text)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_reasoning_is_kept_apart_from_the_text(name: str):
    async with answering(saying(reply("yes", **{name: "let me think"}))) as server:
        completion = await complete(server)

    assert (completion.text, completion.reasoning) == ("yes", "let me think")


@pytest.mark.parametrize(
    ("status", "headers", "kind", "wait"),
    [
        (429, {}, TransientError, None),
        (429, {"Retry-After": "7"}, TransientError, 7),
        (429, {"Retry-After": "Mon, 01 Jan 2001 00:00:00 GMT"}, TransientError, 0),
        (429, {"Retry-After-Ms": "1500"}, TransientError, 1.5),
        (408, {}, TransientError, None),
        (409, {}, TransientError, None),
        (500, {}, TransientError, None),
        (503, {"Retry-After": "soon"}, TransientError, None),
        (400, {}, PermanentError, None),
        (401, {}, PermanentError, None),
        (403, {}, PermanentError, None),
        (404, {}, PermanentError, None),
        (422, {}, PermanentError, None),
        (413, {}, RejectedRequest, None),
    ],
)
async def test_a_status_is_the_error_that_it_means(
    status: int, headers: dict[str, str], kind: type[ModelError], wait: float | None
):
    answer = saying({"error": {"message": "the provider's words"}}, status, headers)

    async with answering(answer) as server:
        with pytest.raises(ModelError, match=f"{status}: the provider's words") as raised:
            await complete(server)

    assert type(raised.value) is kind
    assert getattr(raised.value, "retry_after", None) == wait


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "m", "code": "context_length_exceeded"}, RejectedRequest),
        (400, {"message": "This model's maximum context length is 10 tokens"}, RejectedRequest),
        (429, {"message": "m", "code": "insufficient_quota"}, PermanentError),
    ],
)
async def test_some_errors_are_known_by_their_words(
    status: int, error: dict[str, str], kind: type[ModelError]
):
    async with answering(saying({"error": error}, status)) as server:
        with pytest.raises(kind):
            await complete(server)


@pytest.mark.parametrize(
    "content",
    [
        b"<html>busy</html>",
        b"",
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": "x"}, "finish_reason": null}]}',
    ],
)
async def test_an_answer_that_is_none_is_transient(content: bytes):
    async with answering(saying(content)) as server:
        with pytest.raises(TransientError):
            await complete(server)


async def test_a_dropped_connection_is_transient():
    async def drop(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with answering(drop) as server:
        with pytest.raises(TransientError, match=r"http://127\.0\.0\.1"):
            await complete(server)


async def test_a_half_sent_answer_is_transient():
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"choices"')
        assert request.transport is not None
        request.transport.abort()
        return response

    async with answering(half) as server:
        with pytest.raises(TransientError):
            await complete(server)


async def test_a_server_that_is_not_there_is_transient():
    async with answering(saying(reply())) as server:
        pass

    with pytest.raises(TransientError, match=r"http://127\.0\.0\.1"):
        await complete(server)


async def test_a_late_answer_is_transient():
    released = asyncio.Event()

    async def late(request: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.Response()

    async with answering(late) as server:
        with pytest.raises(TransientError, match="did not answer in time"):
            await complete(server, timeout=0.05)
        released.set()


async def test_a_redirect_is_refused_so_that_the_key_stays_home(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_KEY", "secret")

    async with answering(saying(reply())) as thief:
        target = {"Location": f"{thief.url}/chat/completions"}
        async with answering(saying(b"", 307, target)) as server:
            with pytest.raises(PermanentError, match="redirects to"):
                await complete(server, api_key_env="SOME_KEY")

    assert thief.bodies == []


async def test_a_key_goes_to_the_server_that_the_settings_name_it_for(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("SOME_KEY", "secret")

    async with answering(saying(reply())) as server:
        await complete(server, api_key_env="SOME_KEY")

    assert server.headers[0]["Authorization"] == "Bearer secret"


async def test_openais_own_key_goes_to_no_other_server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")

    async with answering(saying(reply())) as server:
        await complete(server)

    assert "Authorization" not in server.headers[0]


async def test_a_missing_key_is_refused_with_the_command_that_sets_it(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    with pytest.raises(PermanentError, match="export OPENAI_API_KEY="):
        await open_model(ModelSettings(name="openai:gpt-4o")).complete(ASK, SAMPLING)


async def test_texts_that_spell_control_tokens_are_broken_and_no_others_are():
    text = "a <|im_end|> b </s> [INST] <start_of_turn> x < y | z <b>"

    async with answering(saying(reply())) as server:
        model = server.model()
        await model.complete([Message("user", text)], SAMPLING)
        await model.close()

    sent = server.bodies[0]["messages"][0]["content"]
    assert sent.replace("\u200b", "") == text
    assert sent == (
        "a <\u200b|im_end|> b <\u200b/s> [\u200bINST] <\u200bstart_of_turn> x < y | z <b>"
    )


async def test_texts_that_spell_control_tokens_can_be_kept():
    async with answering(saying(reply())) as server:
        model = server.model(control_tokens="keep")
        await model.complete([Message("user", "<|im_end|>")], SAMPLING)
        await model.close()

    assert server.bodies[0]["messages"][0]["content"] == "<|im_end|>"


async def test_a_text_that_is_no_unicode_is_rejected_before_it_is_sent():
    async with answering(saying(reply())) as server:
        model = server.model()
        with pytest.raises(RejectedRequest, match="JSON"):
            await model.complete([Message("user", "\ud83d")], SAMPLING)

    assert server.bodies == []


@pytest.mark.parametrize(
    ("name", "options", "sent"),
    [
        ("vllm:m", {}, {"add_generation_prompt": False, "continue_final_message": True}),
        ("openai:m", {"prefill": True}, {}),
    ],
)
async def test_a_prefilled_turn_goes_to_servers_that_go_on_with_it(
    name: str, options: dict[str, Any], sent: dict[str, bool]
):
    async with answering(saying(reply())) as server:
        model = server.model(name, **options)
        await model.complete(PREFILLED, SAMPLING)
        await model.close()

    body = server.bodies[0]
    assert body["messages"][-1] == {"role": "assistant", "content": "Well"}
    assert {key: body[key] for key in body if key.endswith(("_prompt", "_message"))} == sent


async def test_a_prefilled_turn_is_refused_where_a_server_may_answer_it():
    async with answering(saying(reply())) as server:
        with pytest.raises(PermanentError, match="prefill: true"):
            await server.model().complete(PREFILLED, SAMPLING)


async def test_options_are_read_among_the_likeliest_tokens_spaces_aside():
    answer = weighed(**{"A": 0.5, " A": 0.1, "B": 0.3, "C": 0.05})

    async with answering(saying(answer)) as server:
        result = await weigh(server)

    assert [math.exp(logprob) for logprob in result.logprobs] == pytest.approx([0.6, 0.3])
    assert result.mass == pytest.approx(0.9)
    assert result.method == "top_k"


@pytest.mark.parametrize(
    ("tokens", "bound"),
    [({"A": 0.9, "C": 0.06}, 0.04), ({"A": 0.5, "C": 0.1}, 0.1)],
)
async def test_an_option_that_is_not_listed_gets_the_tighter_of_two_bounds(
    tokens: dict[str, float], bound: float
):
    async with answering(saying(weighed(**tokens))) as server:
        result = await weigh(server)

    assert math.exp(result.logprobs[1]) == pytest.approx(bound)
    assert result.mass == pytest.approx(tokens["A"])


async def test_no_option_listed_leaves_no_mass():
    async with answering(saying(weighed(I=0.7, The=0.2))) as server:
        result = await weigh(server)

    assert result.mass == 0


async def test_a_server_without_logprobs_is_refused_with_the_setting_that_helps():
    async with answering(saying(reply("A"))) as server:
        with pytest.raises(PermanentError, match=r"no log-probabilities.*label_samples"):
            await weigh(server)


async def test_ten_is_told_from_one_by_what_comes_after_one():
    async def answer(request: web.Request) -> web.Response:
        last = (await request.json())["messages"][-1]
        begun = last["content"] if last["role"] == "assistant" else ""
        listed = {"": {"1": 0.8, "9": 0.15}, "1": {"0": 0.75, "<|end|>": 0.25}}[begun]
        return web.json_response(weighed(**listed))

    async with answering(answer) as server:
        model = server.model("vllm:m")
        told = await model.weigh(ASK, ("1", "9", "10"))
        await model.close()

    assert [math.exp(one) for one in told.logprobs] == pytest.approx([0.2, 0.15, 0.6])
    assert told.mass == pytest.approx(0.95)
    assert [body.get("continue_final_message") for body in server.bodies] == [None, True]


async def test_where_no_turn_is_gone_on_with_ten_may_be_all_of_one():
    async with answering(saying(weighed(**{"1": 0.8, "9": 0.15}))) as server:
        told = await weigh(server, ("1", "9", "10"), prefill=False)

    assert [math.exp(one) for one in told.logprobs] == pytest.approx([0.8, 0.15, 0.85])
    assert told.mass == pytest.approx(0.95)
    assert told.method == "top_k"
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("listed", "others"),
    [({"I": 0.7, "A": 0.2}, ("I",)), ({"A": 0.7, "I": 0.2}, ()), ({" A": 0.7, "I": 0.2}, ())],
)
async def test_the_likeliest_text_is_kept_where_no_option_begins_with_it(
    listed: dict[str, float], others: tuple[str, ...]
):
    async with answering(saying(weighed(**listed))) as server:
        told = await weigh(server)

    assert told.others == others


async def test_openais_own_models_write_ten_as_one_token():
    async with answering(saying(weighed(**{"1": 0.8, "9": 0.15}))) as server:
        told = await weigh(server, ("1", "9", "10"), served_by="openai")

    assert [math.exp(one) for one in told.logprobs] == pytest.approx([0.8, 0.15, 0.05])
    assert len(server.bodies) == 1


async def test_labels_are_estimated_from_samples_of_different_seeds():
    texts = iter(["A", "(A)", "**A**", "B.", "I refuse", "A"])

    async def sample(request: web.Request) -> web.StreamResponse:
        return web.Response(body=orjson.dumps(reply(next(texts))))

    async with answering(sample) as server:
        result = await weigh(server, label_samples=6)

    # Four of five named answers are A: (4 + ½) / (5 + 1) = ¾.
    share = 1 / (1 + math.exp(result.logprobs[1] - result.logprobs[0]))
    assert share == pytest.approx(0.75)
    assert result.mass == pytest.approx(5 / 6)
    assert result.standard_error == pytest.approx(math.sqrt(0.75 * 0.25 / 5))
    assert (result.method, result.samples, result.usage.output_tokens) == ("samples", 6, 30)
    assert sorted(body["seed"] for body in server.bodies) == [0, 1, 2, 3, 4, 5]


async def test_samples_that_name_no_option_leave_no_mass_and_finite_logprobs():
    async with answering(saying(reply("I cannot say."))) as server:
        result = await weigh(server, label_samples=3)

    assert result.mass == 0
    assert all(map(math.isfinite, result.logprobs))


@pytest.mark.parametrize("model", ["o3-mini", "gpt-5-nano"])
def test_openais_reasoning_models_are_asked_in_their_own_terms(model: str):
    endpoint = Endpoint("openai", model)

    body = OpenAICompatibleModel(endpoint).completing(ASK, Sampling(max_tokens=9)).body

    assert body["max_completion_tokens"] == 9
    assert not {"max_tokens", "temperature", "top_p"} & body.keys()


@pytest.mark.parametrize(
    ("settings", "identity"),
    [
        ({}, "vllm:org/m@http://host/v1"),
        ({"identity": "replica"}, "replica"),
        ({"label_samples": 4}, "vllm:org/m@http://host/v1&label_samples=4"),
        ({"control_tokens": "keep"}, "vllm:org/m@http://host/v1&control_tokens=keep"),
        ({"timeout": 3.0}, "vllm:org/m@http://host/v1"),
    ],
)
def test_the_identity_holds_what_changes_answers(settings: dict[str, Any], identity: str):
    model = open_model(ModelSettings(name="vllm:org/m", endpoint="http://host/v1", **settings))

    assert model.identity == identity
