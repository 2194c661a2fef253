"""vLLM's real server, as `cai serve --engine vllm` starts it, beside transformers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
import pytest_asyncio

from cai.models import LanguageModel, ModelSettings, open_model
from cai.models.local import LocalModel
from cai.models.weights import LoadOptions
from cai.records import Message, Sampling
from tests.vllm.questions import CONVERSATIONS, GREEDY, PREFILLED, REPLIES, judged

pytestmark = [pytest.mark.vllm, pytest.mark.asyncio(loop_scope="module")]


OPTIONS = [" xyz qq!", " wonder no more", " wonder no"]
"""Each of several tokens: the server is asked for the log-probabilities of a prompt with them."""


class Both(NamedTuple):
    remote: LanguageModel
    local: LocalModel


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(vllm_server: str) -> AsyncIterator[Both]:
    settings = ModelSettings(name="vllm:microworld", endpoint=vllm_server, token_logprobs=True)
    opened = Both(open_model(settings), LocalModel("microworld", device="cpu"))
    yield opened
    await opened.remote.close()
    await opened.local.close()


@pytest.mark.parametrize("messages", [*CONVERSATIONS, *PREFILLED])
async def test_greedy_replies_and_their_logprobs_are_those_of_transformers(
    both: Both, messages: list[Message]
):
    remote, local = [await model.complete(messages, GREEDY) for model in both]

    assert (remote.text, remote.stop_reason) == (local.text, local.stop_reason)
    assert remote.usage.input_tokens == local.usage.input_tokens
    assert remote.logprobs is not None
    assert local.logprobs is not None
    assert remote.logprobs[: len(local.logprobs)] == pytest.approx(local.logprobs, abs=1e-3)


@pytest.mark.parametrize("replies", [REPLIES, REPLIES[::-1]])
async def test_a_judge_decides_as_in_transformers(both: Both, replies: tuple[str, str]):
    remote, local = [await model.weigh(judged(*replies), ["A", "B"]) for model in both]

    assert remote.logprobs == pytest.approx(local.logprobs, abs=1e-3)
    assert remote.mass == pytest.approx(local.mass, abs=1e-3)


async def test_a_begun_reply_is_weighed_as_in_transformers(both: Both):
    begun = [*CONVERSATIONS[0], Message("assistant", "Of course. To bake bread,")]

    remote, local = [await model.weigh(begun, ["make", "begin"]) for model in both]

    assert remote.logprobs == pytest.approx(local.logprobs, abs=1e-3)
    assert local.mass > 0.9


async def test_a_seeded_reply_is_the_same_alone_and_in_any_company(both: Both):
    asked = [(CONVERSATIONS[0], Sampling(max_tokens=24, seed=seed)) for seed in range(24)]

    together = await asyncio.gather(*(both.remote.complete(*call) for call in asked))
    alone = [await both.remote.complete(*call) for call in asked[:8]]

    assert [reply.text for reply in together[:8]] == [reply.text for reply in alone]
    assert len({reply.text for reply in together}) > 8


async def test_a_stop_string_ends_the_reply_before_it(both: Both):
    whole = (await both.remote.complete(CONVERSATIONS[0], GREEDY)).text
    asked = Sampling(temperature=0, max_tokens=24, stop=(whole[9:12],))

    remote, local = [await model.complete(CONVERSATIONS[0], asked) for model in both]

    assert (remote.text, remote.stop_reason) == (local.text, "stop")


async def test_plain_turns_read_and_weigh_as_in_transformers(vllm_server: str):
    settings = ModelSettings(name="vllm:microworld", endpoint=vllm_server, api="completions")
    plain = Both(
        open_model(settings),
        LocalModel("microworld", LoadOptions(format="completion"), device="cpu"),
    )

    for messages in [*CONVERSATIONS, *PREFILLED]:
        remote, local = [await model.complete(messages, GREEDY) for model in plain]

        assert (remote.text, remote.stop_reason) == (local.text, local.stop_reason)

    for messages in PREFILLED:
        remote, local = [await model.weigh(messages, OPTIONS) for model in plain]

        assert remote.logprobs == pytest.approx(local.logprobs, abs=1e-3)
        assert remote.method == "exact"

    await plain.remote.close()
    await plain.local.close()
