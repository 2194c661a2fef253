"""The in-process model: against transformers' own generation, and against itself in batches."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cai.errors import RejectedRequest
from cai.models.decoding import PORTION
from cai.models.local import LocalModel
from cai.records import Completion, Message, Sampling

GREEDY = Sampling(temperature=0, max_tokens=24)


def ask(text: str) -> list[Message]:
    return [Message("user", text)]


@pytest.fixture
async def model(tiny_model: Path) -> AsyncIterator[LocalModel]:
    opened = LocalModel(str(tiny_model), device="cpu")
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
def reference(tiny_model: Path) -> Any:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    plain = AutoModelForCausalLM.from_pretrained(tiny_model).eval().requires_grad_(False)
    return tokenizer, plain


async def test_greedy_replies_equal_those_of_transformers(model: LocalModel, reference: Any):
    tokenizer, plain = reference
    texts = ["Ask me how", "I cannot help with that, because it could hurt people.", "A"]

    replies = await asyncio.gather(*(model.complete(ask(text), GREEDY) for text in texts))

    for text, reply in zip(texts, replies, strict=True):
        prompt = _prompt(tokenizer, text)
        out = plain.generate(prompt, do_sample=False, max_new_tokens=24)
        assert reply.text == tokenizer.decode(out[0, prompt.shape[1] :], skip_special_tokens=True)


async def test_logprobs_are_the_models_own_whatever_the_sampling(model: LocalModel, reference: Any):
    tokenizer, plain = reference
    sampling = Sampling(temperature=0.01, top_p=0.5, max_tokens=8)

    reply = await model.complete(ask("Ask me"), sampling)

    prompt = _prompt(tokenizer, "Ask me")
    whole = plain.generate(prompt, do_sample=False, max_new_tokens=8)
    steps = plain(whole).logits[0, prompt.shape[1] - 1 : -1].log_softmax(-1)
    assert reply.logprobs == pytest.approx(steps.max(dim=-1).values.tolist(), abs=1e-4)


async def test_a_reply_does_not_depend_on_its_batch(model: LocalModel):
    asked = [(ask("word " * n), Sampling(max_tokens=8 + n, seed=n, top_p=0.9)) for n in range(40)]

    together = await asyncio.gather(*(model.complete(*call) for call in asked))
    alone = [await model.complete(*call) for call in asked]

    assert [reply.text for reply in together] == [reply.text for reply in alone]


async def test_a_reply_does_not_depend_on_how_many_prompts_are_read_at_once(model: LocalModel):
    long = [ask("word " * (60 + n)) for n in range(30)]

    together = await asyncio.gather(*(model.complete(one, GREEDY) for one in long))
    alone = [await model.complete(one, GREEDY) for one in long]

    assert sum(reply.usage.input_tokens for reply in together) > PORTION
    assert [reply.text for reply in together] == [reply.text for reply in alone]


async def test_another_seed_gives_another_reply(model: LocalModel):
    replies = [await model.complete(ask("Ask"), Sampling(seed=seed)) for seed in (1, 2)]

    assert replies[0].text != replies[1].text


async def test_a_reply_that_the_limit_cuts_is_of_length(model: LocalModel):
    reply = await model.complete(ask("Ask"), Sampling(max_tokens=5, temperature=0))

    assert reply.stop_reason == "length"
    assert reply.usage.output_tokens == 5
    assert len(reply.logprobs or ()) == 5


async def test_a_reply_that_the_model_ends_is_stopped(
    model: LocalModel, reference: Any, tiny_model: Path, tmp_path: Path
):
    tokenizer, plain = reference
    prompt = _prompt(tokenizer, "Ask me")
    ids = plain.generate(prompt, do_sample=False, max_new_tokens=8)[0, prompt.shape[1] :].tolist()
    at = next(at for at in range(1, 8) if ids[at] not in ids[:at])
    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    _ends_with(copy, ids[at])
    ending = LocalModel(str(copy), device="cpu")

    reply = await ending.complete(ask("Ask me"), GREEDY)

    await ending.close()
    assert reply.stop_reason == "stop"
    assert reply.text == tokenizer.decode(ids[:at])
    assert reply.usage.output_tokens == at + 1


async def test_a_stop_string_ends_the_reply_before_it(model: LocalModel):
    whole = (await model.complete(ask("Ask me"), GREEDY)).text
    stop = whole[10:13]

    reply = await model.complete(
        ask("Ask me"), Sampling(temperature=0, max_tokens=24, stop=(stop,))
    )

    assert reply.text == whole[: whole.index(stop)]
    assert reply.stop_reason == "stop"


async def test_a_prompt_that_leaves_no_room_is_rejected_with_its_length(model: LocalModel):
    with pytest.raises(RejectedRequest, match=r"too long: \d+ tokens, the model reads at most 500"):
        await model.complete(ask("word " * 600), Sampling(max_tokens=12))


async def test_a_rejected_call_leaves_those_beside_it_alone(model: LocalModel):
    short, long = await asyncio.gather(
        model.complete(ask("short"), GREEDY),
        model.complete(ask("word " * 600), GREEDY),
        return_exceptions=True,
    )

    assert isinstance(short, Completion)
    assert isinstance(long, RejectedRequest)


async def test_a_cancelled_call_leaves_those_beside_it_alone(model: LocalModel):
    calls = [asyncio.ensure_future(model.complete(ask(str(n)), GREEDY)) for n in range(3)]
    await asyncio.sleep(0)
    calls[1].cancel()

    done = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(one) for one in done] == [Completion, asyncio.CancelledError, Completion]


async def test_one_forward_pass_weighs_both_options_as_the_softmax_does(
    model: LocalModel, reference: Any
):
    tokenizer, plain = reference
    expected = plain(_prompt(tokenizer, "A or B?")).logits[0, -1].log_softmax(-1)

    weighed = await model.weigh(ask("A or B?"), ["A", "B"])

    for option, logprob in zip("AB", weighed.logprobs, strict=True):
        spelled = [tokenizer.convert_tokens_to_ids(token) for token in (option, "Ġ" + option)]
        assert logprob == pytest.approx(float(expected[spelled].logsumexp(0)), abs=1e-4)
    assert weighed.method == "exact"
    assert weighed.mass == pytest.approx(float(torch.tensor(weighed.logprobs).exp().sum()))


async def test_an_option_of_several_tokens_is_weighed_token_by_token(
    model: LocalModel, reference: Any
):
    tokenizer, plain = reference
    option = tokenizer("xyz!", add_special_tokens=False)["input_ids"]
    prompt = _prompt(tokenizer, "Which?")
    whole = torch.cat([prompt, torch.tensor([option])], dim=1)
    steps = plain(whole).logits[0, prompt.shape[1] - 1 : -1].log_softmax(-1)
    expected = sum(float(steps[at, token]) for at, token in enumerate(option))

    weighed = await model.weigh(ask("Which?"), ["A", "xyz!"])

    assert len(option) > 1
    assert weighed.logprobs[1] == pytest.approx(expected, abs=1e-3)


async def test_what_goes_on_to_be_ten_is_not_one(model: LocalModel, reference: Any):
    tokenizer, plain = reference
    prompt = _prompt(tokenizer, "From 1 to 10?")
    one, zero = (tokenizer.convert_tokens_to_ids(digit) for digit in "10")
    begun = torch.cat([prompt, torch.tensor([[one]])], dim=1)
    first, second = plain(begun).logits[0, -2:].softmax(-1)

    weighed = await model.weigh(ask("From 1 to 10?"), ["1", "10"])

    singles = float(first[one])
    assert math.exp(weighed.logprobs[0]) == pytest.approx(
        singles * (1 - float(second[zero])), rel=1e-3
    )
    assert math.exp(weighed.logprobs[1]) >= singles * float(second[zero]) * (1 - 1e-3)


async def test_the_likeliest_text_is_kept_where_no_option_begins_with_it(
    model: LocalModel, reference: Any
):
    tokenizer, plain = reference
    first = int(plain(_prompt(tokenizer, "A or B?")).logits[0, -1].argmax())
    text = tokenizer.decode([first])

    assert (await model.weigh(ask("A or B?"), ["no such thing"])).others == (text,)
    assert (await model.weigh(ask("A or B?"), ["no", text.strip()])).others == ()


async def test_options_are_weighed_after_a_prefilled_turn(model: LocalModel):
    asked = ask("A or B?")

    plain = await model.weigh(asked, ["A", "B"])
    prefilled = await model.weigh([*asked, Message("assistant", "The answer is")], ["A", "B"])

    assert plain.logprobs != prefilled.logprobs


async def test_a_weighing_does_not_depend_on_its_batch(model: LocalModel):
    asked = [ask("word " * n) for n in range(30)]

    together = await asyncio.gather(*(model.weigh(one, ["A", "B"]) for one in asked))
    alone = [await model.weigh(one, ["A", "B"]) for one in asked]

    for left, right in zip(together, alone, strict=True):
        assert left.logprobs == pytest.approx(right.logprobs, abs=1e-5)


async def test_alternatives_are_the_likeliest_tokens_in_falling_order(model: LocalModel):
    generation = await model.generate(ask("Ask"), GREEDY, 3, tokens=True)

    for token in generation.tokens:
        values = [logprob for _, logprob in token.alternatives]
        assert values == sorted(values, reverse=True)
        assert token.alternatives[0] == (token.text, token.logprob)


async def test_plain_text_is_continued_without_a_template(model: LocalModel, reference: Any):
    tokenizer, plain = reference
    prompt = tokenizer("Ask me how", return_tensors="pt")["input_ids"]
    out = plain.generate(prompt, do_sample=False, max_new_tokens=24)

    generation = await model.generate("Ask me how", GREEDY)

    expected = tokenizer.decode(out[0, prompt.shape[1] :], skip_special_tokens=True)
    assert generation.completion.text == expected


def test_a_model_serves_one_event_loop_after_another(tiny_model: Path):
    model = LocalModel(str(tiny_model), device="cpu")

    texts = [asyncio.run(model.complete(ask("Ask"), GREEDY)).text for _ in range(2)]

    asyncio.run(model.close())
    assert texts[0] == texts[1]


def _prompt(tokenizer: Any, text: str) -> torch.Tensor:
    return tokenizer.apply_chat_template(
        [{"role": "user", "content": text}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=False,
    )


def _ends_with(folder: Path, token: int) -> None:
    file = folder / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "eos_token_id": [token]}))
