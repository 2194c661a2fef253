"""Drawing tokens: hand-worked draws, and what must hold of every draw."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cai.models.sampling import pick, uniforms
from cai.records import Sampling

HALF_THIRD_REST = torch.tensor([[0.2, 0.5, 0.3]]).log()


def draw(u: float, temperature: float = 1.0, top_p: float = 1.0) -> int:
    row = [torch.tensor([value]) for value in (temperature, top_p, u)]
    return int(pick(HALF_THIRD_REST, *row))


@pytest.mark.parametrize(
    ("u", "token"), [(0.0, 0), (0.19, 0), (0.21, 1), (0.69, 1), (0.71, 2), (0.9999999, 2)]
)
def test_a_token_is_where_the_running_sum_passes_the_number(u: float, token: int):
    assert draw(u) == token


@pytest.mark.parametrize("u", [0.0, 0.3, 0.99])
def test_temperature_zero_takes_the_likeliest_token_whatever_the_number(u: float):
    assert draw(u, temperature=0) == 1


def test_temperature_sharpens_the_distribution_before_the_draw():
    # Squared and normalised, 0.2, 0.5, 0.3 become 0.105, 0.658, 0.237.
    assert [draw(u, temperature=0.5) for u in (0.10, 0.11, 0.76, 0.77)] == [0, 1, 1, 2]


def test_top_p_keeps_the_likeliest_tokens_until_their_sum_reaches_it():
    # 0.5 < 0.6 ≤ 0.5 + 0.3: tokens 1 and 2 stay, in this order, with shares 0.625 and 0.375.
    assert [draw(u, top_p=0.6) for u in (0.0, 0.62, 0.63, 0.9999999)] == [1, 1, 2, 2]


def test_top_p_below_the_likeliest_token_leaves_it_alone():
    assert [draw(u, top_p=0.1) for u in (0.0, 0.5, 0.99)] == [1, 1, 1]


@given(
    logits=st.lists(st.floats(-30, 30), min_size=2, max_size=12),
    banned=st.integers(0, 11),
    u=st.floats(0, 1, width=32, exclude_max=True),
    top_p=st.floats(0.0078125, 1, width=32),
)
def test_a_token_of_probability_zero_is_never_drawn(
    logits: list[float], banned: int, u: float, top_p: float
):
    banned %= len(logits)
    logits[banned] = -float("inf")

    token = pick(torch.tensor([logits]), torch.ones(1), torch.tensor([top_p]), torch.tensor([u]))

    assert 0 <= int(token) < len(logits)
    assert int(token) != banned


def test_a_row_is_drawn_the_same_beside_rows_of_other_settings():
    torch.manual_seed(0)
    logits, u = torch.randn(1, 50), torch.tensor([0.37])
    others = torch.randn(2, 50)

    alone = pick(logits, torch.ones(1), torch.ones(1), u)
    beside = pick(
        torch.cat([others, logits]),
        torch.tensor([0.0, 0.7, 1.0]),
        torch.tensor([1.0, 0.5, 1.0]),
        torch.tensor([0.1, 0.9, 0.37]),
    )

    assert int(alone) == int(beside[2])


def test_numbers_of_a_request_depend_on_its_seed_alone():
    request = Sampling(seed=11, max_tokens=6)

    alone = uniforms([request])
    beside = uniforms([Sampling(seed=12, max_tokens=40), request])

    assert torch.equal(alone[0], beside[1, :6])
    assert not torch.equal(beside[0, :6], beside[1, :6])


def test_draws_have_the_frequencies_of_the_distribution():
    count = 20_000
    logits = HALF_THIRD_REST.expand(count, 3)
    numbers = uniforms([Sampling(seed=seed, max_tokens=1) for seed in range(count)])[:, 0]

    tokens = pick(logits, torch.ones(count), torch.ones(count), numbers)

    shares = torch.bincount(tokens, minlength=3) / count
    assert torch.allclose(shares, torch.tensor([0.2, 0.5, 0.3]), atol=0.015)
