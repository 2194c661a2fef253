"""Two texts in one row, read in one pass: each has the score that it has by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from transformers import (
    AutoModelForSequenceClassification,
    MistralConfig,
    MistralForSequenceClassification,
)

from trainers.pair_batches import can_read_pairs, let_read_pairs, pair_rows, row_length

TOKENS = some.lists(some.integers(5, 200), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def classifier(preference_model: Path) -> Any:
    model = AutoModelForSequenceClassification.from_pretrained(preference_model).eval()
    let_read_pairs(model)
    return model


def pair(prompt: list[int], chosen: list[int], rejected: list[int]) -> dict[str, list[int]]:
    return {"chosen_ids": prompt + chosen, "rejected_ids": prompt + rejected}


def test_a_row_is_the_prompt_once_and_both_replies():
    batch = pair_rows([pair([7, 8], [9, 10], [11]), pair([5], [6], [7])], padding=0)

    assert batch["input_ids"].tolist() == [[7, 8, 9, 10, 11], [5, 6, 7, 0, 0]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 2], [0, 1, 1, 0, 0]]
    assert batch["ends"].tolist() == [[3, 4], [1, 2]]


def test_no_reply_sees_the_other():
    batch = pair_rows([pair([7, 8], [9, 10], [11])], padding=0)

    assert batch["attention_mask"][0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]


@settings(max_examples=25)
@given(some.lists(some.tuples(TOKENS, TOKENS, TOKENS), min_size=1, max_size=4))
def test_scores_of_pairs_are_those_of_each_text_alone(classifier: Any, drawn: Any):
    pairs = [pair(*one) for one in drawn]

    with torch.inference_mode():
        together = classifier(**pair_rows(pairs, padding=0), use_cache=False).logits[:, 0]
        texts = [one[side] for side in ("chosen_ids", "rejected_ids") for one in pairs]
        alone = [classifier(input_ids=torch.tensor([text])).logits[0, 0] for text in texts]

    assert torch.allclose(together, torch.stack(alone), atol=1e-4)


@given(TOKENS, TOKENS, TOKENS)
def test_a_row_is_never_longer_than_both_texts(prompt: Any, chosen: Any, rejected: Any):
    one = pair(prompt, chosen, rejected)

    assert row_length(one) <= len(one["chosen_ids"]) + len(one["rejected_ids"])
    assert row_length(one) == pair_rows([one], padding=0)["input_ids"].shape[1]


def test_a_model_that_sees_a_window_reads_texts_one_by_one():
    config = MistralConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        sliding_window=8,
        num_labels=1,
    )

    assert not can_read_pairs(MistralForSequenceClassification(config))


def test_a_model_that_sees_all_reads_pairs(classifier: Any):
    assert can_read_pairs(classifier)
