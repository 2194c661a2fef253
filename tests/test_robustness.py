"""Where train-PM and test-PM part is found by what both say, not by eye (HH-RLHF, §4.2)."""

from __future__ import annotations

import random

import pytest

from cai.evaluation.robustness import TrackedStep, gap_of, parting, robustness_figures


def curve(*gaps: float, deviation: float = 1.0, cases: int = 100) -> list[TrackedStep]:
    """Steps whose scores are so far apart; √KL is a tenth of the step."""
    return [
        TrackedStep(step, step / 10, 1.0 + gap, 1.0, deviation, cases)
        for step, gap in enumerate(gaps, start=1)
    ]


def test_scores_part_where_their_difference_leaves_its_interval_for_good():
    # A step's error is 1/√100 = 0.1, the change's is √2 × 0.1, so it has to pass 0.277.
    found = parting(curve(0.0, 0.1, 0.3, 0.2, 0.4, 0.5), window=1)

    assert found is not None
    assert (found.step, found.sqrt_kl) == (5, 0.5)
    assert found.gap.value == pytest.approx(0.4)
    assert found.gap.low == pytest.approx(0.4 - 0.2772, abs=1e-4)
    assert found.gap.high == pytest.approx(0.4 + 0.2772, abs=1e-4)


def test_a_window_is_the_mean_of_its_steps():
    # Windows of two: 0.05 at first, then 0.35 and 0.45. Their errors are √(0.02)/2 = 0.0707, so
    # the change has to pass 1.96 × 0.1 = 0.196.
    found = parting(curve(0.0, 0.1, 0.3, 0.4, 0.5), window=2)

    assert found is not None
    assert (found.step, found.gap.n) == (4, 200)
    assert found.sqrt_kl == pytest.approx(0.35)
    assert found.gap.value == pytest.approx(0.3)
    assert found.gap.value - found.gap.low == pytest.approx(0.196, abs=1e-3)


def test_models_that_never_agreed_have_not_parted():
    assert parting(curve(*[0.8] * 20), window=5) is None


def test_a_difference_that_goes_away_again_is_no_parting():
    assert parting(curve(0, 0, 0.9, 0.9, 0, 0), window=1) is None


def test_a_test_model_that_thinks_more_of_the_policy_is_no_parting():
    assert parting(curve(0.0, -0.5, -1.0, -1.5), window=1) is None


@pytest.mark.parametrize("number", [0, 1, 9], ids=["none", "one", "nearly-two-windows"])
def test_too_few_steps_say_nothing(number: int):
    assert parting(curve(*range(number)), window=5) is None


def test_fewer_cases_need_a_wider_gap():
    gaps = (0.0, 0.5, 0.5, 0.5)

    assert parting(curve(*gaps, cases=100), window=1) is not None
    assert parting(curve(*gaps, cases=10), window=1) is None


def test_chance_alone_seldom_parts_two_curves():
    source = random.Random(0)

    def noise() -> list[float]:
        return [source.gauss(0, 0.1) for _ in range(40)]

    parted = sum(parting(curve(*noise())) is not None for _ in range(400))
    assert parted / 400 < 0.05


def test_the_figures_hold_the_curve_and_where_it_parts():
    figures = robustness_figures(curve(0.0, 0.0, 0.5, 0.5), window=1)

    assert [one["sqrt_kl"] for one in figures["curve"]] == [0.1, 0.2, 0.3, 0.4]
    assert figures["parting"]["step"] == 3
    assert robustness_figures(curve(0.0, 0.0), window=1)["parting"] is None
    assert robustness_figures([]) == {}


def test_a_gap_has_the_interval_of_its_replies_over_the_steps():
    # Errors of 2/√16 in each of two steps: √(1/4 + 1/4) / 2 of their mean.
    found = gap_of(curve(1.0, 3.0, deviation=2.0, cases=16))

    assert (found.value, found.n) == (2.0, 32)
    assert found.high - found.value == pytest.approx(1.96 * 0.5**0.5 / 2, rel=1e-4)
    assert found.value - found.low == pytest.approx(found.high - found.value)
