"""Rows that stand together: each once, of about one length, and blind to each other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as some
from transformers import AutoModelForCausalLM

from trainers.batches import bins, length_grouped, packed, packed_collator

LENGTHS = some.lists(some.integers(1, 50), min_size=1, max_size=300)


@given(LENGTHS, some.integers(1, 20))
def test_every_row_stands_in_one_place(lengths: list[int], rows: int):
    assert sorted(length_grouped(lengths, rows, "0")) == list(range(len(lengths)))


@given(LENGTHS)
def test_every_row_is_packed_once_and_no_bin_is_too_full(lengths: list[int]):
    found = bins(lengths, 50)

    assert sorted(row for one in found for row in one) == list(range(len(lengths)))
    assert all(sum(lengths[row] for row in one) <= 50 for one in found)


@given(LENGTHS)
def test_two_half_empty_bins_are_never_left(lengths: list[int]):
    filled = [sum(lengths[row] for row in one) for one in bins(lengths, 50)]

    assert sum(total <= 25 for total in filled) <= 1


def test_rows_of_one_step_are_of_about_one_length():
    lengths = [n % 100 for n in range(1600)]

    order = length_grouped(lengths, 16, "0")

    steps = [order[at : at + 16] for at in range(0, 1600, 16)]
    spread = [max(lengths[n] for n in one) - min(lengths[n] for n in one) for one in steps]
    assert max(spread) <= 4


def test_neither_long_nor_short_rows_come_first():
    lengths = list(range(1600))

    order = length_grouped(lengths, 16, "0")

    half = sum(order[:800]) / 800
    assert half == pytest.approx(800, rel=0.15)


def test_another_seed_gives_another_order():
    assert length_grouped(range(1, 99), 4, "0") != length_grouped(range(1, 99), 4, "1")


def test_packed_conversations_do_not_see_each_other(tiny_model: Path):
    rows = [[5, 6, 7], [8, 9], [10, 11, 12, 13]]
    data = Dataset.from_dict({"input_ids": rows, "labels": rows})
    model = AutoModelForCausalLM.from_pretrained(tiny_model)

    batch = packed_collator(0, -100)(list(packed(data, 6)))
    batch.pop("labels")
    together = model(**batch, use_cache=False).logits

    alone = [model(input_ids=torch.tensor([row])).logits[0] for row in rows]
    assert batch["input_ids"].tolist() == [[10, 11, 12, 13, 8, 9], [5, 6, 7, 0, 0, 0]]
    assert torch.allclose(together[0, :4], alone[2], atol=1e-5)
    assert torch.allclose(together[0, 4:], alone[1], atol=1e-5)
    assert torch.allclose(together[1, :3], alone[0], atol=1e-5)
