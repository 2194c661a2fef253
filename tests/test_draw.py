"""Draws depend on the row and on each principle alone."""

from __future__ import annotations

import random
from collections import Counter
from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cai.constitution import Constitution, Principle, draw, draw_many
from cai.errors import InputError

PROMPTS = [f"prompt-{number}" for number in range(4000)]

ids = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
weights = st.floats(min_value=1e-3, max_value=1e3)
tables = st.dictionaries(ids, weights, min_size=2, max_size=20)


def constitution(table: dict[str, float]) -> Constitution:
    """One comparison principle per id, of the given weight."""
    principles = [
        Principle(id=id, comparison=f"Which is more {id}?", weight=weight)
        for id, weight in table.items()
    ]
    return Constitution(id="drawn", principles=tuple(principles))


def sixteen(weight_of_p0: float = 1.0) -> dict[str, float]:
    return {f"p{number}": 1.0 for number in range(16)} | {"p0": weight_of_p0}


def drawn(table: dict[str, float], *, seed: int = 0, round: int = 0, slot: int = 0) -> list[str]:
    whole = constitution(table)
    return [
        draw(whole, "comparison", seed=seed, prompt_id=prompt, round=round, slot=slot).id
        for prompt in PROMPTS
    ]


@given(tables, st.integers(0, 2**31), st.text(), st.randoms(use_true_random=False))
def test_the_order_of_principles_changes_no_draw(
    table: dict[str, float], seed: int, prompt: str, shuffler: random.Random
):
    items = list(table.items())
    shuffler.shuffle(items)

    first = draw(constitution(table), "comparison", seed=seed, prompt_id=prompt)
    second = draw(constitution(dict(items)), "comparison", seed=seed, prompt_id=prompt)

    assert first == second


@given(tables, st.integers(0, 2**31), st.text(), st.data())
def test_removing_a_principle_changes_only_the_draws_that_it_had(
    table: dict[str, float], seed: int, prompt: str, data: st.DataObject
):
    removed = data.draw(st.sampled_from(sorted(table)))
    rest = {id: weight for id, weight in table.items() if id != removed}

    before = draw(constitution(table), "comparison", seed=seed, prompt_id=prompt).id
    after = draw(constitution(rest), "comparison", seed=seed, prompt_id=prompt).id

    assert before in (after, removed)


@given(tables, st.floats(min_value=1.01, max_value=100), st.integers(0, 2**31), st.data())
def test_a_raised_weight_only_draws_rows_to_its_principle(
    table: dict[str, float], factor: float, seed: int, data: st.DataObject
):
    raised = data.draw(st.sampled_from(sorted(table)))
    heavier = table | {raised: table[raised] * factor}

    before = draw(constitution(table), "comparison", seed=seed, prompt_id="x").id
    after = draw(constitution(heavier), "comparison", seed=seed, prompt_id="x").id

    assert after in (before, raised)


def test_one_principle_more_than_sixteen_takes_a_seventeenth_of_the_rows():
    before = drawn(sixteen())

    after = drawn(sixteen() | {"added": 1.0})

    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {"added"}
    assert len(moved) / len(PROMPTS) == pytest.approx(1 / 17, abs=4 * sqrt(1 / 17 / len(PROMPTS)))


@pytest.mark.parametrize(
    "table",
    [sixteen(), sixteen(weight_of_p0=10), {"light": 0.001, "heavy": 0.003}, {"a": 1, "b": 50}],
    ids=["equal", "one heavy", "small", "far apart"],
)
def test_frequencies_are_proportional_to_weights(table: dict[str, float]):
    counts = Counter(drawn(table, seed=7))

    total = sum(table.values())
    expected = {id: len(PROMPTS) * weight / total for id, weight in table.items()}
    chi_square = sum((counts[id] - count) ** 2 / count for id, count in expected.items())
    freedom = len(table) - 1
    assert chi_square < freedom + 4 * sqrt(2 * freedom)


@pytest.mark.parametrize(
    "other", [{"round": 1}, {"slot": 1}, {"seed": 1}], ids=["round", "slot", "seed"]
)
def test_draws_of_one_prompt_are_independent_and_with_replacement(other: dict[str, int]):
    first, second = drawn(sixteen()), drawn(sixteen(), **other)

    same = sum(one == two for one, two in zip(first, second, strict=True)) / len(PROMPTS)

    assert same == pytest.approx(1 / 16, abs=4 * sqrt(1 / 16 / len(PROMPTS)))


def test_the_stage_takes_part_in_the_draw():
    both = [Principle(id=id, critique="c", revision="r", comparison="q") for id in sixteen()]
    whole = Constitution(id="x", principles=tuple(both))

    same = sum(
        draw(whole, "revision", seed=0, prompt_id=prompt)
        == draw(whole, "comparison", seed=0, prompt_id=prompt)
        for prompt in PROMPTS
    )

    assert same / len(PROMPTS) == pytest.approx(1 / 16, abs=0.02)


def test_only_principles_with_the_stages_texts_are_drawn():
    reviser = Principle(id="reviser", critique="c", revision="r", weight=1e9)
    judge = Principle(id="judge", comparison="q")
    whole = Constitution(id="x", principles=(reviser, judge))

    assert draw(whole, "comparison", seed=0, prompt_id="p") == judge
    assert draw(whole, "revision", seed=0, prompt_id="p") == reviser


def test_draws_are_the_same_in_every_release():
    assert drawn(sixteen())[:8] == ["p1", "p10", "p2", "p15", "p11", "p15", "p7", "p0"]


@given(tables, st.integers(0, 2**31), st.data())
def test_an_ensemble_has_different_principles_and_begins_with_the_single_draw(
    table: dict[str, float], seed: int, data: st.DataObject
):
    whole = constitution(table)
    m = data.draw(st.integers(1, len(table)))

    many = draw_many(whole, "comparison", m, seed=seed, prompt_id="p", round=2)

    assert len({principle.id for principle in many}) == m
    assert many[0] == draw(whole, "comparison", seed=seed, prompt_id="p", round=2)


@settings(max_examples=30)
@given(tables, st.integers(0, 2**31))
def test_a_larger_ensemble_holds_the_smaller(table: dict[str, float], seed: int):
    whole = constitution(table)

    smaller = draw_many(whole, "comparison", 1, seed=seed, prompt_id="p")
    larger = draw_many(whole, "comparison", 2, seed=seed, prompt_id="p")

    assert larger[:1] == smaller


def test_a_stage_without_principles_is_refused_with_the_fix():
    with pytest.raises(InputError, match="drawn: principles: has no principle for revision; write"):
        draw(constitution(sixteen()), "revision", seed=0, prompt_id="p")


def test_an_ensemble_larger_than_the_constitution_is_refused():
    with pytest.raises(InputError, match="has 16 principles for comparison, not 17"):
        draw_many(constitution(sixteen()), "comparison", 17, seed=0, prompt_id="p")


def test_an_ensemble_of_none_is_refused():
    with pytest.raises(ValueError, match="at least 1 principle"):
        draw_many(constitution(sixteen()), "comparison", 0, seed=0, prompt_id="p")
