"""Replies drawn and read again: sorted by length, and padding changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from cai.errors import RunError
from cai.microworld import MODEL
from tests.trainers_support import assistant, user
from trainers.adapters import lora_options
from trainers.reply_figures import reply_figures
from trainers.rollouts import Rollout, Sampler, Weigher
from trainers.settings import LoraSettings
from trainers.tokens import load_tokenizer, prompt_ids
from trainers.value_model import load_value_model

PROMPTS = [[user("word " * n)] for n in (9, 1, 4, 30)]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model).eval()


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(str(tiny_model))


@pytest.fixture(scope="module")
def rollouts(model: Any, tokenizer: Any) -> list[Rollout]:
    torch.manual_seed(0)
    return Sampler(tokenizer, 1.0, 12, 2, "cpu").sample(model, PROMPTS)


def weigher(tokenizer: Any, temperature: float = 1.0, at_once: int = 4) -> Weigher:
    return Weigher(tokenizer.pad_token_id, temperature, 12, at_once, "cpu")


def test_replies_come_in_order_of_their_prompts_length(tokenizer: Any, rollouts: list[Rollout]):
    assert [one.prompt for one in rollouts] == [PROMPTS[place] for place in (1, 2, 0, 3)]
    assert all(one.prompt_ids == prompt_ids(tokenizer, one.prompt) for one in rollouts)


def test_a_reply_ends_with_its_end_token_or_at_the_limit(tokenizer: Any, rollouts: list[Rollout]):
    end = tokenizer.eos_token_id

    assert all((one.reply_ids[-1] == end) is not one.cut_off for one in rollouts)
    assert all(len(one.reply_ids) == 12 for one in rollouts if one.cut_off)
    assert all(end not in one.reply_ids[:-1] for one in rollouts)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_a_reply_has_the_probability_that_the_model_gives_it_alone(
    model: Any, tokenizer: Any, rollouts: list[Rollout], temperature: float
):
    weighed = weigher(tokenizer, temperature).weigh(model, rollouts)

    for number, one in enumerate(rollouts):
        ids = torch.tensor([one.prompt_ids + one.reply_ids])
        logits = model(ids).logits[0, len(one.prompt_ids) - 1 : -1] / temperature
        alone = logits.log_softmax(-1).gather(1, torch.tensor(one.reply_ids).unsqueeze(1))
        length = len(one.reply_ids)
        assert torch.allclose(weighed.logprobs_B_T[number, :length], alone[:, 0], atol=1e-4)
        assert weighed.mask_B_T[number].tolist() == [1] * length + [0] * (12 - length)


def test_reading_in_parts_changes_nothing(model: Any, tokenizer: Any, rollouts: list[Rollout]):
    together = weigher(tokenizer, at_once=4).weigh(model, rollouts)

    apart = weigher(tokenizer, at_once=1).weigh(model, rollouts)

    mask = together.mask_B_T
    assert torch.equal(mask, apart.mask_B_T)
    for one, other in zip(together[:2], apart[:2], strict=True):
        assert torch.allclose(one * mask, other * mask, atol=1e-4)


def test_a_new_value_model_expects_nothing(
    tiny_model: Path, tokenizer: Any, rollouts: list[Rollout]
):
    values = weigher(tokenizer).values(load_value_model(str(tiny_model), {}), rollouts)

    assert torch.equal(values, torch.zeros(4, 12))


def test_a_value_model_of_4_bits_keeps_its_new_head_whole(rollouts: list[Rollout]):
    options = lora_options(LoraSettings(quantization="4bit"), str(MODEL), "TOKEN_CLS")

    values = weigher(load_tokenizer(str(MODEL))).values(
        load_value_model(str(MODEL), options), rollouts
    )

    assert torch.equal(values, torch.zeros(4, 12))


def test_a_policy_of_a_kind_without_value_model_is_refused(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')

    with pytest.raises(RunError, match=r"take rl\.algorithm rloo or grpo"):
        load_value_model(str(tmp_path), {})


def answered(*replies: str, prompt: str = "") -> list[list[dict[str, str]]]:
    """Each to a prompt of its own, or all to one."""
    return [
        [user(prompt or f"Question {number}"), assistant(reply)]
        for number, reply in enumerate(replies)
    ]


def test_refusals_and_boilerplate_are_counted_by_the_shipped_patterns():
    figures = reply_figures(
        answered("I can't help with that.", "As a language model, I like bread.", "Bake.", "So.")
    )

    assert (figures["refusal"], figures["boilerplate"]) == (0.25, 0.25)


def test_figures_of_replies_have_the_ends_of_their_intervals():
    figures = reply_figures(answered("You are valid and valued.", "Bake it at noon."))

    assert figures["boilerplate_low"] < figures["boilerplate"] < figures["boilerplate_high"]
    assert figures["words_low"] < figures["words"] == 4.5 < figures["words_high"]


def test_replies_to_one_prompt_are_one_case_of_an_interval():
    replies = ["Shame on you.", "Shame on you.", "Bake it.", "Bake it."]

    apart, alike = reply_figures(answered(*replies)), reply_figures(answered(*replies, prompt="?"))

    assert apart["harsh"] == alike["harsh"] == 0.5
    assert alike["harsh_low"] < apart["harsh_low"]
    assert alike["harsh_high"] > apart["harsh_high"]
