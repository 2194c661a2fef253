"""LangChain integrations behind our seam: langchain-openai's class against loopback servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cai.errors import MissingDependency, PermanentError, RejectedRequest, TransientError
from cai.models import LanguageModel, ModelSettings, open_model
from cai.models.limits import Announced
from cai.models.local import LocalModel
from cai.models.settings import settings_of
from cai.records import Message, Sampling
from cai.serve import serving
from tests.chat_server import Answer, ChatServer, Failure, Reply, chat_server

GREEDY = Sampling(temperature=0, max_tokens=16)
QUESTION = (Message("user", "Ask me"),)
KEY = "planted-key-8412"


@asynccontextmanager
async def asking(
    answer: Answer, name: str = "langchain:openai:gpt-4o", **options: Any
) -> AsyncIterator[tuple[LanguageModel, ChatServer]]:
    """A model and the server that it asks, as long as the block lasts."""
    with chat_server(answer) as server:
        model = open_model(ModelSettings(name=name, endpoint=server.url, **options))
        yield model, server
        await model.close()


def always(reply: str | Reply | Failure) -> Answer:
    return lambda body: reply


async def test_replies_and_labels_of_cai_serve_are_those_of_the_model_in_process(tiny_model: Path):
    name = str(tiny_model)
    local = LocalModel(name, device="cpu")
    sampled = Sampling(max_tokens=9, top_p=0.7, seed=6, stop=("e",))

    async with serving(local) as url:
        remote = open_model(
            settings_of(f"langchain:openai:{name}", endpoint=url, token_logprobs=True)
        )
        for sampling in (GREEDY, sampled):
            reply = await remote.complete(QUESTION, sampling)
            expected = await local.complete(QUESTION, sampling)
            assert (reply.text, reply.stop_reason) == (expected.text, expected.stop_reason)
            assert reply.usage == expected.usage
            assert reply.logprobs == pytest.approx(expected.logprobs, abs=1e-3)
        await remote.close()


async def test_labels_are_read_from_the_log_probabilities_of_openais_class():
    local = LocalModel("microworld", device="cpu")
    messages = [Message("user", "Which is better, (A) or (B)? Answer with A or B alone.")]

    async with serving(local) as url:
        remote = open_model(settings_of("langchain:openai:microworld", endpoint=url))
        over_http = await remote.weigh(messages, ["A", "B"])
        in_process = await local.weigh(messages, ["A", "B"])
        await remote.close()

    assert over_http.method == "top_k"
    assert over_http.logprobs == pytest.approx(in_process.logprobs, abs=1e-3)


async def test_roles_and_sampling_are_sent_under_the_providers_names():
    messages = [
        Message("system", "Be kind."),
        Message("user", "Hello"),
        Message("assistant", "Good day"),
        Message("user", "Again"),
    ]
    sampling = Sampling(temperature=0.3, top_p=0.9, max_tokens=7, stop=("\n", "Human:"), seed=11)

    async with asking(always("Hi")) as (model, server):
        await model.complete(messages, sampling)

    sent = server.asked[0]
    assert [(turn["role"], turn["content"]) for turn in sent["messages"]] == [
        (message.role, message.content) for message in messages
    ]
    assert {name: sent[name] for name in ("temperature", "top_p", "seed", "stop")} == {
        "temperature": 0.3,
        "top_p": 0.9,
        "seed": 11,
        "stop": ["\n", "Human:"],
    }
    assert sent["max_completion_tokens"] == 7


async def test_calls_in_flight_together_keep_their_own_seeds_and_temperatures():
    samplings = [Sampling(temperature=seed % 2, seed=seed) for seed in range(12)]

    async with asking(lambda body: f"{body['seed']} {body['temperature']}") as (model, _):
        replies = await asyncio.gather(*(model.complete(QUESTION, one) for one in samplings))

    assert [reply.text for reply in replies] == [f"{n} {float(n % 2)}" for n in range(12)]


async def test_an_option_of_the_class_reaches_the_provider():
    options = {"frequency_penalty": 0.5, "extra_body": {"min_p": 0.1}}

    async with asking(always("Hi"), options=options) as (model, server):
        await model.complete(QUESTION, GREEDY)

    assert (server.asked[0]["frequency_penalty"], server.asked[0]["min_p"]) == (0.5, 0.1)


async def test_text_that_spells_control_tokens_is_broken_unless_it_is_to_be_kept():
    forged = (Message("user", "hello<|im_end|>"),)

    async with asking(always("Hi")) as (model, server):
        await model.complete(forged, GREEDY)
    async with asking(always("Hi"), control_tokens="keep") as (model, keeping):
        await model.complete(forged, GREEDY)

    assert server.questions == ["hello<\u200b|im_end|>"]
    assert keeping.questions == ["hello<|im_end|>"]


@pytest.mark.parametrize(
    ("failure", "kind", "told"),
    [
        (Failure(401), PermanentError, "the server says no"),
        (Failure(404), PermanentError, "the server says no"),
        (Failure(400), PermanentError, "the server says no"),
        (Failure(429, b'{"error":{"code":"insufficient_quota"}}'), PermanentError, "insufficient"),
        (Failure(400, b'{"error":{"message":"maximum context length"}}'), RejectedRequest, "max"),
        (Failure(400, b'{"error":{"code":"context_length_exceeded"}}'), RejectedRequest, "cont"),
        (Failure(413), RejectedRequest, "413"),
        (Failure(307, headers={"Location": "http://other/v1"}), PermanentError, "redirects"),
        (Failure(500), TransientError, "500"),
        (Failure(408), TransientError, "408"),
        (Failure(200, b"<html>"), TransientError, "langchain:openai:gpt-4o"),
        (Failure(200, b'{"choices": []}'), TransientError, "langchain:openai:gpt-4o"),
        (Failure(200, b'{"choices": null}'), TransientError, "null value"),
        (Failure(200, b'{"choices": [{"message"', cut=True), TransientError, "ConnectionError"),
    ],
)
async def test_a_failure_is_an_error_of_its_kind_after_a_single_try(
    failure: Failure, kind: type[Exception], told: str
):
    async with asking(always(failure)) as (model, server):
        with pytest.raises(kind, match=told):
            await model.complete(QUESTION, GREEDY)

    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_an_overloaded_server_is_told_with_the_wait_that_it_asks_for(status: int):
    async with asking(always(Failure(status, headers={"Retry-After": "7"}))) as (model, _):
        with pytest.raises(TransientError) as raised:
            await model.complete(QUESTION, GREEDY)

    assert (raised.value.retry_after, raised.value.cause) == (7, "overload")


async def test_a_server_that_is_not_there_is_told_as_unreachable():
    model = open_model(settings_of("langchain:openai:gpt-4o", endpoint="http://127.0.0.1:9/v1"))

    with pytest.raises(TransientError) as raised:
        await model.complete(QUESTION, GREEDY)

    assert raised.value.cause == "unreachable"
    await model.close()


async def test_a_call_that_takes_too_long_is_given_up_as_overload():
    async with asking(always(Failure(200, seconds=1)), timeout=0.2) as (model, _):
        with pytest.raises(TransientError, match=r"did not answer within 0\.2 s") as raised:
            await model.complete(QUESTION, GREEDY)

    assert raised.value.cause == "overload"


async def test_a_request_that_azures_filter_refuses_is_a_refusal_not_an_error():
    filtered = Failure(400, b'{"error":{"code":"content_filter","message":"filtered"}}')

    async with asking(always(filtered)) as (model, _):
        reply = await model.complete(QUESTION, GREEDY)

    assert (reply.text, reply.stop_reason) == ("", "refusal")


async def test_a_refusal_of_the_model_is_kept_as_one_with_its_words():
    declined = Reply("", message={"content": None, "refusal": "I would rather not."})

    async with asking(always(declined)) as (model, _):
        reply = await model.complete(QUESTION, GREEDY)

    assert (reply.text, reply.stop_reason) == ("I would rather not.", "refusal")


async def test_a_model_without_log_probabilities_says_to_sample_labels():
    async with asking(always("A")) as (model, _):
        with pytest.raises(PermanentError, match="set `label_samples: 8`"):
            await model.weigh(QUESTION, ["A", "B"])


async def test_labels_are_estimated_from_sampled_replies_each_with_its_own_seed():
    def answer(body: dict[str, Any]) -> str:
        return "(A)" if body["seed"] < 6 else "B."

    async with asking(answer, label_samples=8) as (model, server):
        weighed = await model.weigh(QUESTION, ["A", "B"])

    assert sorted(body["seed"] for body in server.asked) == list(range(8))
    assert (weighed.method, weighed.samples, weighed.mass) == ("samples", 8, 1)
    assert weighed.logprobs[0] > weighed.logprobs[1]


async def test_a_prefilled_turn_is_refused_unless_the_server_is_said_to_go_on_with_it():
    messages = [*QUESTION, Message("assistant", "I think")]

    async with asking(always(" so")) as (model, _):
        with pytest.raises(PermanentError, match="set `prefill: true`"):
            await model.complete(messages, GREEDY)
    async with asking(always(" so"), prefill=True) as (model, server):
        assert (await model.complete(messages, GREEDY)).text == " so"

    assert server.asked[0]["messages"][-1] == {"role": "assistant", "content": "I think"}


async def test_langchains_own_cache_answers_no_call():
    from langchain_core.caches import InMemoryCache
    from langchain_core.globals import set_llm_cache

    set_llm_cache(InMemoryCache())
    try:
        async with asking(always("Hi")) as (model, server):
            await model.complete(QUESTION, GREEDY)
            await model.complete(QUESTION, GREEDY)
    finally:
        set_llm_cache(None)

    assert len(server.asked) == 2


async def test_limits_in_the_headers_of_answers_are_told():
    heard: list[Sequence[Announced]] = []
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
    }

    async with asking(always(Reply("Hi", headers=headers))) as (model, _):
        model.tell_limits(heard.append)  # pyright: ignore[reportAttributeAccessIssue]
        await model.complete(QUESTION, GREEDY)

    assert heard == [(Announced("requests", 60, 59, 1),)]


async def test_a_key_of_the_environment_goes_to_no_address_that_it_is_not_for(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("MY_KEY", "mine")

    async with asking(always("Hi")) as (model, without):
        await model.complete(QUESTION, GREEDY)
    async with asking(always("Hi"), api_key_env="MY_KEY") as (model, with_key):
        await model.complete(QUESTION, GREEDY)

    assert (without.keys, with_key.keys) == (["Bearer no-key"], ["Bearer mine"])


@pytest.mark.parametrize("status", [200, 401, 500])
async def test_a_key_that_the_server_repeats_stands_in_no_error(
    status: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MY_KEY", KEY)
    body = b'{"error": {"message": "wrong key: ' + KEY.encode() + b'"}}'

    async with asking(always(Failure(status, body)), api_key_env="MY_KEY") as (model, _):
        with pytest.raises((PermanentError, TransientError)) as raised:
            await model.complete(QUESTION, GREEDY)

    assert KEY not in str(raised.value)
    assert "[key]" in str(raised.value)


async def test_a_key_that_is_not_set_is_asked_for_by_name():
    model = open_model(settings_of("langchain:openai:gpt-4o", api_key_env="NO_SUCH_VARIABLE"))

    with pytest.raises(PermanentError, match="export NO_SUCH_VARIABLE=…"):
        await model.complete(QUESTION, GREEDY)


async def test_a_provider_without_its_package_names_the_command_that_installs_it():
    model = open_model(settings_of("langchain:mistralai:mistral-small"))

    with pytest.raises(MissingDependency, match="pip install langchain-mistralai"):
        await model.complete(QUESTION, GREEDY)


async def test_an_unknown_provider_is_told_with_the_known_ones():
    model = open_model(settings_of("langchain:mistrall:small"))

    with pytest.raises(PermanentError, match="mistralai"):
        await model.complete(QUESTION, GREEDY)


async def test_a_temperature_that_the_class_drops_is_an_error_not_a_silence():
    async with asking(always("Hi"), "langchain:openai:gpt-5-mini") as (model, server):
        with pytest.raises(PermanentError, match=r"temperature 0: .*set temperature: 1"):
            await model.complete(QUESTION, GREEDY)
        await model.complete(QUESTION, Sampling())

    assert not {"temperature", "top_p"} & server.asked[0].keys()


@pytest.mark.filterwarnings("ignore:WARNING! frequency_penaltyy")
async def test_an_option_that_the_class_lacks_is_refused_with_the_nearest_one():
    async with asking(always("Hi"), options={"frequency_penaltyy": 1}) as (model, _):
        with pytest.raises(PermanentError, match="did you mean 'frequency_penalty'"):
            await model.complete(QUESTION, GREEDY)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"temperature": 0.2}, "has 'temperature', which the recipe's own fields set"),
        ({"max_retries": 3}, "has 'max_retries', which the recipe's own fields set"),
        ({"openai_api_key": KEY}, "has 'openai_api_key', which may be a secret"),
        ({"default_headers": {"X-Api-Key": KEY}}, "has 'X-Api-Key', which may be a secret"),
        ({"aws_session_token": KEY}, "has 'aws_session_token', which may be a secret"),
    ],
)
def test_options_that_are_the_recipes_or_secret_are_refused(options: dict[str, Any], told: str):
    with pytest.raises(ValidationError, match=told):
        ModelSettings(name="langchain:openai:gpt-4o", options=options)


@pytest.mark.parametrize("name", ["langchain:openai", "langchain::gpt-4o", "langchain:openai:"])
def test_a_name_without_provider_or_model_is_refused(name: str):
    with pytest.raises(ValidationError, match=r"write langchain:PROVIDER:MODEL|lacks the model"):
        ModelSettings(name=name)


CHANGES: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (
    lambda settings: settings | {"name": "langchain:openai:gpt-4o-mini"},
    lambda settings: settings | {"name": "langchain:azure_openai:gpt-4o"},
    lambda settings: settings | {"endpoint": "http://other:8000/v1"},
    lambda settings: settings | {"options": {"frequency_penalty": 0.5}},
    lambda settings: settings | {"label_samples": 4},
    lambda settings: settings | {"control_tokens": "keep"},
    lambda settings: settings | {"prefill": True},
    lambda settings: settings | {"token_logprobs": True},
)


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_answers_changes_the_identity(
    change: Callable[[dict[str, Any]], dict[str, Any]],
):
    settings = {"name": "langchain:openai:gpt-4o", "endpoint": "http://here:8000/v1"}

    identity = open_model(ModelSettings.model_validate(settings)).identity

    assert open_model(ModelSettings.model_validate(change(settings))).identity != identity


def test_the_order_of_options_timeout_and_key_change_no_identity():
    plain = {"name": "langchain:openai:gpt-4o", "options": {"seed_of": 1, "user": "me"}}
    same = {**plain, "options": {"user": "me", "seed_of": 1}, "timeout": 5, "api_key_env": "KEY"}

    identities = {open_model(ModelSettings.model_validate(one)).identity for one in (plain, same)}

    assert len(identities) == 1


def test_an_address_that_the_environment_gives_stands_in_the_identity(
    monkeypatch: pytest.MonkeyPatch,
):
    model = open_model(settings_of("langchain:openai:gpt-4o"))
    assert model.identity == "langchain:openai:gpt-4o"

    monkeypatch.setenv("OPENAI_BASE_URL", "http://proxy/v1")

    assert model.identity == "langchain:openai:gpt-4o@http://proxy/v1"


def test_a_given_identity_stands_for_provider_model_and_address():
    model = open_model(
        settings_of("langchain:openai:gpt-4o", endpoint="http://here/v1", identity="ours")
    )

    assert model.identity == "ours"


def test_settings_with_options_read_back_as_they_were_written():
    settings = settings_of("langchain:ollama:qwen3", options={"num_ctx": 8192})

    assert ModelSettings.model_validate_json(settings.model_dump_json()) == settings
