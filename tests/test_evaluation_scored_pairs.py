"""Figures of a preference model's scores, on pairs whose figures can be worked out by hand."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from cai.evaluation.intervals import correlation
from cai.evaluation.scored_pairs import ScoredPair, score_figures

RIGHT = ScoredPair(1.0, 2.0, 1.0, words_a=10, words_b=10, turns=1, source="ai", prompt="p")
WRONG = replace(RIGHT, p_a=0.0, prompt="q")


def test_accuracy_is_the_share_of_better_replies_with_the_higher_score():
    tied = replace(RIGHT, score_b=2.0)

    figures = score_figures([RIGHT, RIGHT, WRONG, tied])

    assert figures.accuracy is not None
    assert (figures.accuracy.value, figures.n) == (2.5 / 4, 4)
    assert figures.accuracy.low < 2.5 / 4 < figures.accuracy.high


def test_pairs_of_one_prompt_are_one_case_of_every_interval():
    once = [replace(one, prompt=str(n)) for n, one in enumerate([RIGHT, RIGHT, WRONG, WRONG] * 2)]
    varied = [replace(one, words_a=n, score_a=n % 5) for n, one in enumerate(once)]

    figures, again = score_figures(varied).to_json(), score_figures(varied * 4).to_json()

    for name in ("accuracy", "longer_is_better", "brier", "score_and_length", "margin_and_length"):
        assert again[name] == pytest.approx(figures[name]), name
    assert again["ece_interval"]["n"] == 8
    assert again["by_source"]["ai"] == pytest.approx(figures["by_source"]["ai"])


def test_pairs_without_a_better_side_are_counted_apart():
    figures = score_figures([RIGHT, replace(RIGHT, p_a=0.5)])

    assert (figures.n, figures.undecided) == (1, 1)


def test_figures_come_by_source_turn_and_tag():
    other = replace(WRONG, source="human", turns=3, tags=("honest",))

    figures = score_figures([RIGHT, other])

    assert {name: one.value for name, one in figures.by_source.items()} == {"ai": 1, "human": 0}
    assert {name: one.value for name, one in figures.by_turns.items()} == {"1": 1, "3": 0}
    assert {name: one.value for name, one in figures.by_tag.items()} == {"honest": 0}


@pytest.mark.parametrize(
    ("better", "worse", "name"),
    [
        (4, 10, "less than half as long"),
        (8, 10, "shorter"),
        (10, 10, "about as long"),
        (15, 10, "longer"),
        (30, 10, "over twice as long"),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_figures_come_by_the_length_of_the_better_reply(
    better: int, worse: int, name: str, swapped: bool
):
    pair = replace(RIGHT, words_a=better, words_b=worse)
    if swapped:
        pair = replace(pair, p_a=0.0, words_a=worse, words_b=better)

    assert list(score_figures([pair]).by_length) == [name]


def test_figures_come_by_the_lower_score_low_ones_first():
    low = [replace(RIGHT, score_a=n + 1, score_b=n) for n in range(5)]
    high = [replace(WRONG, score_a=n + 1, score_b=n) for n in range(5, 10)]

    parts = score_figures([*high, *low]).by_lower_score

    assert list(parts) == [
        "1 of 5: 0.00 to 1.00",
        "2 of 5: 2.00 to 3.00",
        "3 of 5: 4.00 to 5.00",
        "4 of 5: 6.00 to 7.00",
        "5 of 5: 8.00 to 9.00",
    ]
    assert [one.value for one in parts.values()] == [1, 1, 0.5, 0, 0]


def test_scores_that_mean_their_probability_are_calibrated():
    margin = math.log(3)
    right = replace(RIGHT, score_a=margin, score_b=0.0)

    figures = score_figures([right, right, right, replace(right, p_a=0.0)])

    assert figures.ece == pytest.approx(0, abs=1e-9)
    assert figures.brier is not None
    assert figures.brier.value == pytest.approx(0.75 * 0.25)


def test_scores_that_are_too_sure_are_not():
    sure = replace(RIGHT, score_a=100.0)

    figures = score_figures([sure, replace(sure, p_a=0.0)])

    assert figures.ece == pytest.approx(0.5)
    assert figures.ece_interval is not None
    assert figures.ece_interval.low < 0.5 <= figures.ece_interval.high
    (held,) = [one for one in figures.bins if one.n]
    assert (held.low, held.high, held.mean_p, held.truth) == (0.95, 1, 1, 0.5)


def test_a_score_that_is_the_length_is_found_out():
    draw = random.Random(0)
    lengths = [(draw.randrange(50), draw.randrange(50)) for _ in range(40)]
    pairs = [
        replace(RIGHT, score_a=a, score_b=b, words_a=a, words_b=b, p_a=float(a > b), prompt=str(n))
        for n, (a, b) in enumerate(lengths)
        if a != b
    ]

    figures = score_figures(pairs)

    assert figures.longer_is_better is not None and figures.longer_is_better.value == 1
    assert figures.score_and_length is not None
    assert figures.score_and_length.value == pytest.approx(1)
    assert figures.margin_and_length is not None
    assert figures.margin_and_length.value == pytest.approx(1)


def test_a_correlation_stands_in_the_interval_of_fisher():
    found = correlation([1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5])

    assert found is not None
    assert found.value == pytest.approx(29 / 35)
    middle = math.atanh(29 / 35)
    assert found.low == pytest.approx(math.tanh(middle - 1.959964 / math.sqrt(3)), abs=1e-5)
    assert found.high == pytest.approx(math.tanh(middle + 1.959964 / math.sqrt(3)), abs=1e-5)


@pytest.mark.parametrize("values", [[1, 2, 3], [1, 1, 1, 1]], ids=["too few", "all the same"])
def test_where_nothing_varies_there_is_no_correlation(values: list[float]):
    assert correlation(values, list(range(len(values)))) is None


def test_a_score_that_is_no_number_is_an_error():
    with pytest.raises(ValueError, match="must be finite"):
        score_figures([replace(RIGHT, score_a=math.nan)])


PAIRS = some.builds(
    ScoredPair,
    p_a=some.floats(0, 1),
    score_a=some.floats(-9, 9),
    score_b=some.floats(-9, 9),
    words_a=some.integers(0, 99),
    words_b=some.integers(0, 99),
    turns=some.integers(1, 4),
    source=some.sampled_from(["ai", "human"]),
    prompt=some.uuids().map(str),
)


@given(some.lists(PAIRS, max_size=30), some.floats(-5, 5))
def test_a_constant_in_the_score_changes_nothing_but_where_the_parts_lie(
    pairs: list[ScoredPair], shift: float
):
    pairs = [replace(one, score_a=float(round(one.score_a)), score_b=0.0) for one in pairs]
    shifted = [
        replace(one, score_a=one.score_a + round(shift), score_b=float(round(shift)))
        for one in pairs
    ]

    one, other = score_figures(pairs), score_figures(shifted)

    assert (one.accuracy, one.ece, one.by_length) == (other.accuracy, other.ece, other.by_length)


@given(some.lists(PAIRS, max_size=30))
def test_parts_hold_every_decided_pair_once(pairs: list[ScoredPair]):
    figures = score_figures(pairs)

    for parts in (figures.by_source, figures.by_turns, figures.by_length, figures.by_lower_score):
        assert sum(one.n for one in parts.values()) == figures.n
    assert sum(one.n for one in figures.bins) == len(pairs)
