"""The scripted model: what it answers, what it records, and what it refuses."""

from __future__ import annotations

import math

import pytest

from cai.errors import TransientError
from cai.models.scripted import ScriptedModel, UnscriptedCall
from cai.records import Completion, Message, Sampling, Usage

ASK = [Message("user", "hello")]


async def test_scripted_model_answers_in_the_order_of_its_list():
    model = ScriptedModel(["first", "second"])

    texts = [(await model.complete(ASK, Sampling())).text for _ in range(2)]

    assert texts == ["first", "second"]


async def test_scripted_model_answers_by_a_function_of_messages_and_sampling():
    model = ScriptedModel(lambda messages, sampling: f"{messages[-1].content} {sampling.seed}")

    completion = await model.complete(ASK, Sampling(seed=7))

    assert completion.text == "hello 7"


async def test_scripted_model_gives_out_a_whole_completion_as_it_is():
    cut_off = Completion("half a", "length", Usage(1, 2), "other")

    completion = await ScriptedModel([cut_off]).complete(ASK, Sampling())

    assert completion is cut_off


async def test_scripted_model_raises_a_scripted_error():
    model = ScriptedModel([TransientError("overloaded")])

    with pytest.raises(TransientError, match="overloaded"):
        await model.complete(ASK, Sampling())


async def test_scripted_model_weighs_by_its_probabilities():
    model = ScriptedModel(weights=[[0.6, 0.2]])

    weighed = await model.weigh(ASK, ["A", "B"])

    assert weighed.logprobs == (math.log(0.6), math.log(0.2))
    assert weighed.mass == pytest.approx(0.8)


async def test_scripted_model_refuses_a_reply_that_its_script_lacks():
    with pytest.raises(UnscriptedCall, match="'hello'"):
        await ScriptedModel().complete(ASK, Sampling())


async def test_scripted_model_refuses_to_weigh_what_its_script_lacks():
    with pytest.raises(UnscriptedCall, match="'hello'"):
        await ScriptedModel(["a reply"]).weigh(ASK, ["A", "B"])


async def test_scripted_model_records_calls_as_it_got_them():
    model = ScriptedModel(["hi"], weights=[[0.5, 0.5]])

    await model.complete(ASK, Sampling(seed=3))
    await model.weigh(ASK, ["A", "B"])

    assert [asked.sampling for asked in model.asked] == [Sampling(seed=3), None]
    assert [asked.options for asked in model.asked] == [(), ("A", "B")]
    assert model.asked[0].last == "hello"
