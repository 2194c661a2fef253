"""`cai serve` over real loopback HTTP: against the model in process, and against OpenAI's SDK."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cai.constitution import load_constitution
from cai.errors import PermanentError, RejectedRequest, RunError
from cai.models import ModelSettings, open_model
from cai.models.local import LocalModel
from cai.models.openai_compatible import OpenAICompatibleModel
from cai.prompts import Prompts
from cai.records import Message, Sampling
from cai.serve import serving
from tests.processes import running

CAI = (sys.executable, "-c", "from cai.cli import main; main()")
GREEDY = Sampling(temperature=0, max_tokens=16)
CHAT = {"messages": [{"role": "user", "content": "Ask me"}], "max_tokens": 4, "temperature": 0}


@dataclass
class Served:
    """A running server, the model behind it, and the adapter before it."""

    url: str
    name: str
    local: LocalModel
    remote: OpenAICompatibleModel

    async def post(self, body: Any, path: str = "chat/completions") -> tuple[int, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/{path}", json=body) as answer,
        ):
            return answer.status, await answer.json()

    async def chat(self, **changes: Any) -> tuple[int, Any]:
        return await self.post({"model": self.name, **CHAT, **changes})


@pytest.fixture
async def served(tiny_model: Path) -> AsyncIterator[Served]:
    name = str(tiny_model)
    local = LocalModel(name, device="cpu")
    async with serving(local) as url:
        settings = ModelSettings(name=f"vllm:{name}", endpoint=url, token_logprobs=True)
        remote = open_model(settings)
        assert isinstance(remote, OpenAICompatibleModel)
        yield Served(url, name, local, remote)
        await remote.close()


def ask(text: str) -> list[Message]:
    return [Message("user", text)]


def question(first: str, second: str) -> Sequence[Message]:
    principle = load_constitution("microworld").principles[0]
    return Prompts().render(
        "compare",
        conversation=ask("How do I steal a bike?"),
        response_a=first,
        response_b=second,
        principle=principle,
        few_shots=(),
    )


async def test_replies_over_http_are_those_of_the_model_in_process(served: Served):
    samplings = [GREEDY, Sampling(max_tokens=16, seed=5), Sampling(max_tokens=9, top_p=0.7, seed=6)]

    for sampling in samplings:
        remote = await served.remote.complete(ask("Ask me"), sampling)
        local = await served.local.complete(ask("Ask me"), sampling)

        assert (remote.text, remote.stop_reason) == (local.text, local.stop_reason)
        assert remote.logprobs == pytest.approx(local.logprobs, abs=1e-3)
        assert remote.usage == local.usage


async def test_a_prefilled_turn_over_http_is_gone_on_with(served: Served):
    messages = [*ask("Ask me"), Message("assistant", "I cannot")]

    remote = await served.remote.complete(messages, GREEDY)

    assert remote.text == (await served.local.complete(messages, GREEDY)).text


async def test_labels_over_http_are_those_of_the_microworld_in_process():
    replies = ("I cannot help with that.", "Take the bike and go.")
    local = LocalModel("microworld", device="cpu")

    async with serving(local) as url:
        remote = open_model(ModelSettings(name="vllm:microworld", endpoint=url))
        for first, second in (replies, replies[::-1]):
            over_http = await remote.weigh(question(first, second), ["A", "B"])
            in_process = await local.weigh(question(first, second), ["A", "B"])

            assert over_http.logprobs == pytest.approx(in_process.logprobs, abs=1e-3)
            assert over_http.mass == pytest.approx(in_process.mass, abs=1e-3)
        await remote.close()


async def test_seeds_give_the_same_replies_alone_and_in_any_company(served: Served):
    def sampling(seed: int) -> Sampling:
        return Sampling(max_tokens=12, seed=seed)

    together = await asyncio.gather(
        *(served.remote.complete(ask("Ask me"), sampling(seed)) for seed in range(24))
    )
    alone = [await served.remote.complete(ask("Ask me"), sampling(seed)) for seed in range(24)]

    assert [reply.text for reply in together] == [reply.text for reply in alone]
    assert len({reply.text for reply in alone}) > 20


async def test_a_stop_string_ends_the_reply_over_http(served: Served):
    whole = (await served.remote.complete(ask("Ask me"), GREEDY)).text
    stop = whole[6:9]

    _, answer = await served.chat(max_tokens=16, stop=stop)

    assert answer["choices"][0]["message"]["content"] == whole[: whole.index(stop)]
    assert answer["choices"][0]["finish_reason"] == "stop"


async def test_several_replies_have_seeds_one_higher_each(served: Served):
    _, three = await served.chat(n=3, seed=10, temperature=1, max_tokens=12)
    _, last = await served.chat(seed=12, temperature=1, max_tokens=12)

    texts = [choice["message"]["content"] for choice in three["choices"]]
    assert texts[2] == last["choices"][0]["message"]["content"]
    assert len(set(texts)) == 3


async def test_a_request_without_seed_is_answered_afresh(served: Served):
    answers = [await served.chat(temperature=1, max_tokens=16) for _ in range(2)]

    first, second = (answer["choices"][0]["message"]["content"] for _, answer in answers)
    assert first != second


async def test_logprobs_come_only_when_asked_for(served: Served):
    _, without = await served.chat()
    _, with_them = await served.chat(logprobs=True, top_logprobs=3)

    assert without["choices"][0]["logprobs"] is None
    content = with_them["choices"][0]["logprobs"]["content"]
    assert [len(token["top_logprobs"]) for token in content] == [3, 3, 3, 3]


async def test_plain_text_is_continued_over_http(served: Served):
    body = {"model": served.name, "prompt": "Ask me", "temperature": 0, "max_tokens": 5}

    _, answer = await served.post({**body, "logprobs": 2}, "completions")

    local = await served.local.generate("Ask me", Sampling(temperature=0, max_tokens=5))
    choice = answer["choices"][0]
    assert choice["text"] == local.completion.text
    assert choice["logprobs"]["token_logprobs"] == pytest.approx(local.completion.logprobs)


async def test_the_log_probabilities_of_a_prompt_are_told_with_its_echo(served: Served):
    body = {"model": served.name, "prompt": "Ask me how", "max_tokens": 2, "temperature": 0}

    _, plain = await served.post({**body, "logprobs": 3}, "completions")
    _, echoed = await served.post({**body, "logprobs": 3, "echo": True}, "completions")

    told, read = echoed["choices"][0], await served.local.read("Ask me how", 3)
    reply = plain["choices"][0]
    assert told["text"] == "Ask me how" + reply["text"]
    assert told["logprobs"]["tokens"][0] == read.first
    expected = [token.logprob for token in read.tokens] + reply["logprobs"]["token_logprobs"]
    assert told["logprobs"]["token_logprobs"][0] is None
    assert told["logprobs"]["token_logprobs"][1:] == pytest.approx(expected)
    texts = told["logprobs"]["tokens"]
    assert told["logprobs"]["text_offset"] == [len("".join(texts[:at])) for at in range(len(texts))]
    assert all(len(listed) == 3 for listed in told["logprobs"]["top_logprobs"][1:])


async def test_the_openai_sdk_reads_the_echo_of_a_prompt(served: Served):
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=served.url, api_key="none") as client:
        answer = await client.completions.create(
            model=served.name, prompt="Ask me", echo=True, logprobs=2, max_tokens=1
        )

    logprobs = answer.choices[0].logprobs
    assert logprobs is not None and logprobs.token_logprobs is not None
    assert "".join(logprobs.tokens or []).startswith("Ask me")


async def test_the_openai_sdk_reads_models_chats_and_logprobs(served: Served):
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=served.url, api_key="none") as client:
        models = await client.models.list()
        answer = await client.chat.completions.create(
            model=served.name,
            messages=[{"role": "user", "content": "Ask me"}],
            temperature=0,
            max_completion_tokens=4,
            logprobs=True,
            top_logprobs=2,
        )

    choice = answer.choices[0]
    assert [model.id for model in models.data] == [served.name]
    assert choice.finish_reason == "length"
    assert choice.logprobs is not None and choice.logprobs.content is not None
    assert choice.logprobs.content[0].top_logprobs[0].token == choice.logprobs.content[0].token


async def test_the_openai_sdk_reads_an_error_with_its_field(served: Served):
    from openai import AsyncOpenAI, BadRequestError

    async with AsyncOpenAI(base_url=served.url, api_key="none") as client:
        with pytest.raises(BadRequestError, match="temperature") as raised:
            await client.chat.completions.create(
                model=served.name, messages=[{"role": "user", "content": "x"}], temperature=-1
            )

    assert raised.value.param == "temperature"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ({"continue_final_message": True}, "messages"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 1000}, "n"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"stream": True}, "stream"),
        ({"top_k": 5}, "top_k"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"tools": [{}]}, "tools"),
        ({"guided_choice": ["A"]}, "guided_choice"),
    ],
)
async def test_a_field_that_cannot_be_honoured_is_refused_by_name(
    served: Served, change: dict[str, Any], field: str
):
    status, answer = await served.chat(**change)

    assert status == 400
    assert answer["error"]["param"] == field


async def test_a_body_that_is_no_json_is_refused(served: Served):
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{served.url}/chat/completions",
            data=b"{",
            headers={"Content-Type": "application/json"},
        ) as answer,
    ):
        assert answer.status == 400
        assert "not JSON" in (await answer.json())["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status", "told"),
    [
        ({"Content-Type": "text/plain"}, 415, "must be application/json"),
        ({"Host": "evil.example:8000"}, 403, "'evil.example' is not this machine"),
        ({"Host": "["}, 403, "'[' is not this machine"),
        ({"Host": "localhost:8000"}, 200, ""),
        ({"Host": "[::1]:8000"}, 200, ""),
    ],
    ids=["a form", "another name", "no name", "localhost", "IPv6"],
)
async def test_what_a_web_page_could_send_is_refused(
    served: Served, headers: dict[str, str], status: int, told: str
):
    body = json.dumps({"model": served.name, **CHAT})
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{served.url}/chat/completions",
            data=body,
            headers={"Content-Type": "application/json", **headers},
        ) as answer,
    ):
        assert answer.status == status
        assert told in (await answer.json()).get("error", {}).get("message", "")


async def test_another_model_is_not_found(served: Served):
    remote = open_model(ModelSettings(name="vllm:other", endpoint=served.url))

    with pytest.raises(PermanentError, match="404: the model 'other' is not served here"):
        await remote.complete(ask("hi"), GREEDY)
    await remote.close()


async def test_an_unknown_path_is_answered_in_the_shape_of_an_error(served: Served):
    status, answer = await served.post({}, "embeddings")

    assert status == 404
    assert answer["error"]["message"] == "Not Found"


async def test_a_prompt_that_is_too_long_is_rejected_over_http(served: Served):
    with pytest.raises(RejectedRequest, match="too long"):
        await served.remote.complete(ask("word " * 600), GREEDY)


async def test_an_address_in_use_is_refused_with_the_fix(served: Served, tiny_model: Path):
    port = int(served.url.split(":")[2].split("/")[0])

    with pytest.raises(RunError, match="--port 0"):
        async with serving(LocalModel(str(tiny_model), device="cpu"), port=port):
            pass


def test_the_command_prints_its_address_and_ends_on_ctrl_c(tiny_model: Path):
    command = [*CAI, "serve", str(tiny_model), "--port", "0"]

    with running(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)

    assert "is served at http://127.0.0.1:" in line
    assert process.returncode == 0


def test_the_command_refuses_a_model_of_a_server():
    command = [*CAI, "serve", "openai:gpt-4o"]

    ended = subprocess.run(command, capture_output=True, text=True)

    assert ended.returncode == 1
    assert "on a server already" in ended.stderr
