"""What Anthropic's models are sent, and what they are spared, over the real SDK."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from cai.errors import PermanentError, RejectedRequest
from cai.records import Message, Sampling
from tests.fake_anthropic import ASK, KEY, blocks_of, fake_anthropic, message

PREFILLED = (*ASK, Message("assistant", "Well"))
OLDER, NEWER = "claude-haiku-4-5", "claude-opus-5"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)


async def test_a_request_holds_what_the_api_takes_and_no_seed():
    asked = [Message("system", "Be kind."), *ASK]
    sampling = Sampling(max_tokens=7, stop=("END",), seed=42)

    async with fake_anthropic() as fake:
        await fake.complete(NEWER, asked, sampling)

    assert fake.bodies == [
        {
            "model": NEWER,
            "max_tokens": 7,
            "system": [{"type": "text", "text": "Be kind."}],
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
            "stop_sequences": ["END"],
            "thinking": {"type": "disabled"},
        }
    ]


async def test_neighbours_of_one_role_become_one_turn():
    asked = [Message("user", "one"), Message("user", "two"), Message("assistant", "three"), *ASK]

    async with fake_anthropic() as fake:
        await fake.complete(messages=asked)

    assert [turn["role"] for turn in fake.bodies[0]["messages"]] == ["user", "assistant", "user"]
    assert [block["text"] for block in blocks_of(fake.bodies[0])] == [
        "one",
        "two",
        "three",
        "hello",
    ]


@pytest.mark.parametrize(
    ("sampling", "sent", "version"),
    [
        (Sampling(), {}, "2026-10-21"),
        (Sampling(temperature=0.5), {"temperature": 0.5}, "2023-06-01"),
        (Sampling(temperature=0), {"temperature": 0.0}, "2023-06-01"),
        (Sampling(top_p=0.9), {"top_p": 0.9}, "2023-06-01"),
    ],
)
async def test_sampling_goes_to_models_that_take_it_by_the_version_that_does(
    sampling: Sampling, sent: dict[str, float], version: str
):
    async with fake_anthropic() as fake:
        await fake.complete(OLDER, sampling=sampling)

    body = fake.bodies[0]
    assert {name: body[name] for name in ("temperature", "top_p") if name in body} == sent
    assert fake.headers[0]["anthropic-version"] == version


@pytest.mark.parametrize(
    ("name", "sampling", "reason"),
    [
        (NEWER, Sampling(temperature=0.6), "takes neither temperature nor top_p.*temperature 0.6"),
        (OLDER, Sampling(temperature=0.6, top_p=0.9), "temperature 0.6 and top_p 0.9"),
        (OLDER, Sampling(temperature=1.5), "from 0 to 1"),
    ],
)
async def test_sampling_that_a_model_does_not_take_is_refused_before_it_is_sent(
    name: str, sampling: Sampling, reason: str
):
    async with fake_anthropic() as fake:
        with pytest.raises(PermanentError, match=reason):
            await fake.complete(name, sampling=sampling)

    assert fake.bodies == []


async def test_a_model_that_thinks_takes_no_temperature():
    async with fake_anthropic() as fake:
        with pytest.raises(PermanentError, match="while it thinks"):
            await fake.complete("claude-opus-4-6", sampling=Sampling(top_p=0.5), thinking=True)


@pytest.mark.parametrize(
    ("name", "options"), [(OLDER, {}), ("model-of-a-gateway", {"prefill": True})]
)
async def test_a_prefilled_turn_goes_to_models_that_go_on_with_it(
    name: str, options: dict[str, Any]
):
    async with fake_anthropic(message(", hello")) as fake:
        completion = await fake.complete(name, PREFILLED, **options)

    assert fake.bodies[0]["messages"][-1]["role"] == "assistant"
    assert completion.text == ", hello"


@pytest.mark.parametrize(("name", "options"), [(NEWER, {}), (OLDER, {"prefill": False})])
async def test_a_prefilled_turn_is_refused_for_models_that_refuse_it(
    name: str, options: dict[str, Any]
):
    async with fake_anthropic() as fake:
        with pytest.raises(PermanentError, match="prefill: true"):
            await fake.complete(name, PREFILLED, **options)

    assert fake.bodies == []


async def test_a_prefill_that_the_server_refuses_all_the_same_says_what_to_set():
    async with fake_anthropic() as fake:
        with pytest.raises(PermanentError, match=r"does not support.*set `prefill: false`"):
            await fake.complete(NEWER, PREFILLED, prefill=True)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([Message("user", " \n")], "message 1 is blank"),
        ([*ASK, Message("assistant", "Well ")], "ends with a space"),
        ([Message("system", "Be kind.")], "no turn beside"),
        ([*ASK, Message("system", "Be kind."), *ASK], "message 2 is a system turn"),
        ([Message("user", "\ud83d")], "cannot be written"),
    ],
)
async def test_a_conversation_that_the_api_takes_from_nobody_is_rejected(
    messages: list[Message], reason: str
):
    async with fake_anthropic() as fake:
        with pytest.raises(RejectedRequest, match=reason):
            await fake.complete(OLDER, messages)

    assert fake.bodies == []


async def test_a_conversation_that_begins_with_the_assistant_is_rejected_by_the_server():
    async with fake_anthropic() as fake:
        with pytest.raises(RejectedRequest, match="first message must use"):
            await fake.complete(messages=[Message("assistant", "Hi"), *ASK])


def test_opening_a_model_loads_no_sdk():
    code = (
        "import sys; from cai.models import ModelSettings, open_model\n"
        "open_model(ModelSettings(name='anthropic:claude-opus-5')).identity\n"
        "print([name for name in ('anthropic', 'aiohttp', 'httpx2') if name in sys.modules])"
    )

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert loaded.stdout.strip() == "[]"
