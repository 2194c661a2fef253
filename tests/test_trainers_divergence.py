"""How far a policy is from another one, by its own replies."""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.conftest import build_tiny_model
from tests.trainers_support import KIND, assistant, user
from trainers.divergence import Replies, reply_divergences
from trainers.tokens import load_tokenizer, split_ids

CHATS = [
    [user("Hello"), assistant(KIND)],
    [user("How are you?"), assistant("Well.")],
    [user("Name a tree"), assistant("An oak, which is a tree, I think.")],
]
"""Replies of different lengths, so that a batch is filled up."""


@pytest.fixture(scope="module")
def other_model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("other") / "model"
    build_tiny_model(folder, seed=1)
    return folder


def test_a_policy_is_nowhere_from_itself(tiny_model):
    nats = reply_divergences(tiny_model, tiny_model, Replies(CHATS, [True] * 3), 1.0)

    assert nats == pytest.approx([0.0] * 3)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("ended", [True, False])
def test_each_reply_counts_its_own_tokens_and_its_end_if_it_has_one(
    tiny_model, other_model, temperature, ended
):
    nats = reply_divergences(tiny_model, other_model, Replies(CHATS, [ended] * 3), temperature)

    own, other = (
        [one_by_one(folder, chat, temperature, ended) for chat in CHATS]
        for folder in (tiny_model, other_model)
    )
    differences = [a - b for a, b in zip(own, other, strict=True)]
    assert nats == pytest.approx(differences, abs=1e-4)
    back = reply_divergences(other_model, tiny_model, Replies(CHATS, [ended] * 3), temperature)
    assert [-one for one in back if one is not None] == pytest.approx(differences, abs=1e-4)


def test_a_reply_that_the_chat_template_refuses_is_no_number(refuses_even, other_model, tmp_path):
    spoken, blank = [user("Hi"), assistant("No.")], [user("Hi"), assistant("")]
    policy = Path(shutil.copytree(other_model, tmp_path / "policy"))
    shutil.copy(refuses_even / "chat_template.jinja", policy)

    nats = reply_divergences(policy, other_model, Replies([blank, spoken], [True] * 2), 1.0)

    assert nats == [None, pytest.approx(0)]


def one_by_one(folder: Path, chat: list, temperature: float, ended: bool) -> float:
    """Log-probability of a reply that stands in no batch."""
    tokenizer = load_tokenizer(str(folder))
    ids, start = split_ids(tokenizer, chat)
    end = ids.index(tokenizer.eos_token_id, start) + ended
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        logprobs = (model(torch.tensor([ids[:end]])).logits[0] / temperature).log_softmax(-1)
    return sum(logprobs[at - 1, ids[at]].item() for at in range(start, end))
