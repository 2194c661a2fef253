"""Rows that stand together in a step: each once, and of about one length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from trainers.batches import length_grouped

LENGTHS = some.lists(some.integers(1, 50), min_size=1, max_size=300)


@given(LENGTHS, some.integers(1, 20))
def test_every_row_stands_in_one_place(lengths: list[int], rows: int):
    assert sorted(length_grouped(lengths, rows, "0")) == list(range(len(lengths)))


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
