"""vLLM's own engine in this process, beside transformers on the same weights."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from cai.errors import PermanentError, RejectedRequest
from cai.models.local import LocalModel
from cai.models.vllm_engine import VLLMModel
from cai.models.weights import LoadOptions
from cai.records import Message, Sampling
from tests.vllm.questions import CONVERSATIONS, FORGERY, GREEDY, PREFILLED, REPLIES, judged

pytestmark = [pytest.mark.vllm, pytest.mark.asyncio(loop_scope="module")]

SMALL = {"enforce_eager": True, "max_model_len": 1024, "max_num_seqs": 64}


class Both(NamedTuple):
    engine: VLLMModel
    local: LocalModel


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both() -> AsyncIterator[Both]:
    opened = Both(
        VLLMModel("microworld", engine=SMALL, token_logprobs=True),
        LocalModel("microworld", device="cpu"),
    )
    yield opened
    await opened.engine.close()
    await opened.local.close()


@pytest.mark.parametrize("messages", [*CONVERSATIONS, *PREFILLED, FORGERY])
async def test_greedy_replies_and_their_logprobs_are_those_of_transformers(
    both: Both, messages: list[Message]
):
    engine, local = [await model.complete(messages, GREEDY) for model in both]

    assert (engine.text, engine.stop_reason, engine.usage) == (
        local.text,
        local.stop_reason,
        local.usage,
    )
    assert engine.logprobs == pytest.approx(local.logprobs, abs=1e-3)


@pytest.mark.parametrize("messages", [*CONVERSATIONS, *PREFILLED])
@pytest.mark.parametrize(
    "options", [["A", "B"], ["A", "xyz qq!", "I cannot"], ["1", "10", "100", "I"]]
)
async def test_options_weigh_what_they_weigh_in_transformers(
    both: Both, messages: list[Message], options: list[str]
):
    engine, local = [await model.weigh(messages, options) for model in both]

    assert engine.logprobs == pytest.approx(local.logprobs, abs=1e-3)
    assert engine.mass == pytest.approx(local.mass, abs=1e-3)
    assert engine.method == "exact"


@pytest.mark.parametrize("replies", [REPLIES, REPLIES[::-1]])
async def test_a_judge_decides_as_in_transformers(both: Both, replies: tuple[str, str]):
    engine, local = [await model.weigh(judged(*replies), ["A", "B"]) for model in both]

    assert engine.logprobs == pytest.approx(local.logprobs, abs=1e-3)
    assert engine.mass > 0.9


async def test_a_seeded_reply_is_the_same_alone_and_in_any_company(both: Both):
    asked = [(CONVERSATIONS[0], Sampling(max_tokens=24, seed=seed)) for seed in range(40)]

    together = await asyncio.gather(*(both.engine.complete(*call) for call in asked))
    alone = [await both.engine.complete(*call) for call in asked[:8]]

    assert [reply.text for reply in together[:8]] == [reply.text for reply in alone]
    assert len({reply.text for reply in together}) > 10


async def test_long_prompts_with_seeds_are_answered_however_many_there_are(both: Both):
    asked = [[Message("user", f"How do I bake bread {n}? " * 60)] for n in range(48)]

    replies = await asyncio.gather(
        *(both.engine.complete(messages, Sampling(max_tokens=4, seed=1)) for messages in asked)
    )

    assert sum(reply.usage.input_tokens for reply in replies) > 8192
    assert len(replies) == 48


async def test_options_weigh_the_same_beside_sampled_replies(both: Both):
    alone = await both.engine.weigh(CONVERSATIONS[0], ["A", "B"])

    weighed, *_ = await asyncio.gather(
        both.engine.weigh(CONVERSATIONS[0], ["A", "B"]),
        both.engine.weigh(CONVERSATIONS[0], ["xyz qq!"]),
        *(both.engine.complete(CONVERSATIONS[1], Sampling(seed=seed)) for seed in range(8)),
    )

    assert weighed.logprobs == pytest.approx(alone.logprobs, abs=1e-3)


async def test_a_stop_string_ends_the_reply_before_it(both: Both):
    whole = (await both.engine.complete(CONVERSATIONS[0], GREEDY)).text
    asked = Sampling(temperature=0, max_tokens=24, stop=(whole[9:12],))

    engine, local = [await model.complete(CONVERSATIONS[0], asked) for model in both]

    assert engine.text == local.text == whole[: whole.index(whole[9:12])]
    assert (engine.stop_reason, engine.usage) == ("stop", local.usage)


async def test_a_prompt_that_leaves_no_room_is_rejected_with_its_length(both: Both):
    with pytest.raises(
        RejectedRequest, match=r"too long: \d+ tokens, the model reads at most 1000"
    ):
        await both.engine.complete([Message("user", "word " * 2000)], Sampling(max_tokens=24))


async def test_a_cancelled_call_leaves_those_beside_it_alone(both: Both):
    calls = [
        asyncio.ensure_future(both.engine.complete(CONVERSATIONS[0], GREEDY)) for _ in range(3)
    ]
    await asyncio.sleep(0)
    calls[1].cancel()

    done = await asyncio.gather(*calls, return_exceptions=True)

    assert done[0] == done[2]
    assert isinstance(done[1], asyncio.CancelledError)


async def test_an_adapter_on_plain_turns_answers_as_in_transformers(adapter: Path, both: Both):
    options = LoadOptions(adapter=str(adapter), format="completion")
    adapted = Both(
        VLLMModel("microworld", options, SMALL, token_logprobs=True),
        LocalModel("microworld", options, device="cpu"),
    )

    for messages in [*CONVERSATIONS, *PREFILLED]:
        engine, local = [await model.complete(messages, GREEDY) for model in adapted]
        weighed = [await model.weigh(messages, ["A", "xyz qq!"]) for model in adapted]
        plain = await both.local.weigh(messages, ["A", "xyz qq!"])

        assert engine.text == local.text
        assert engine.logprobs == pytest.approx(local.logprobs, abs=1e-3)
        assert weighed[0].logprobs == pytest.approx(weighed[1].logprobs, abs=1e-3)
        assert weighed[0].logprobs != pytest.approx(plain.logprobs, abs=1e-2)

    await adapted.engine.close()
    await adapted.local.close()


async def test_an_engine_that_cannot_start_says_why():
    model = VLLMModel("microworld", engine={**SMALL, "tensor_parallel_size": 3})

    with pytest.raises(PermanentError, match=r"vLLM's engine does not start with microworld: "):
        await model.load()
    await model.close()
