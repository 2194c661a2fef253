import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.evaluation import label_figures, preference_model_figures, rate, refusal_score
from cai.evaluation.intervals import Rate, mean_share
from cai.evaluation.patterns import read_patterns
from cai.records import Comparison, Message, OrderWeights, Prompt

probabilities = st.floats(0.01, 0.99)
NUMBERS = itertools.count()


def test_a_label_is_right_where_it_prefers_the_truly_better_reply():
    labels = [label(0.9, truth=0.7), label(0.2, truth=0.4), label(0.6, truth=0.1)]

    assert is_like(label_figures(labels, truth_of).accuracy, rate(2, 3))


def test_an_undecided_label_counts_half():
    assert label_figures([label(0.5, truth=0.9)], truth_of).accuracy == mean_share([0.5])


def test_a_pair_without_a_better_side_says_nothing_of_accuracy():
    labels = [label(0.9, truth=0.5), label(0.9, truth=0.7)]

    assert label_figures(labels, truth_of).accuracy == rate(1, 1)


def test_the_brier_score_is_the_expected_squared_error():
    labels = [label(0.8, truth=1.0), label(0.6, truth=0.5)]

    figures = label_figures(labels, truth_of)

    # 0.2² = 0.04; half 0.4² and half 0.6² = 0.26; the mean is 0.15.
    assert figures.brier is not None
    assert figures.brier.value == pytest.approx(0.15)
    assert figures.brier_floor == pytest.approx(0.125)


@given(st.lists(probabilities, min_size=2, max_size=50))
def test_perfect_labels_reach_the_floor_and_are_calibrated(truths: list[float]):
    figures = label_figures([label(q, truth=q) for q in truths], truth_of)

    assert figures.brier is not None
    assert figures.brier.value == pytest.approx(figures.brier_floor)
    assert figures.ece == pytest.approx(0, abs=1e-9)


def test_calibration_error_weighs_bins_by_their_labels():
    labels = [label(0.95, truth=0.75)] * 3 + [label(0.15, truth=0.15)]

    figures = label_figures(labels, truth_of)

    assert figures.ece == pytest.approx(0.2 * 3 / 4)
    assert [one.n for one in figures.bins] == [0, 1, 0, 0, 0, 0, 0, 0, 0, 3]


@pytest.mark.parametrize(("p", "index"), [(0.0, 0), (0.1, 1), (0.999, 9), (1.0, 9)])
def test_a_label_falls_into_the_bin_that_holds_it(p: float, index: int):
    bins = label_figures([label(p, truth=0.5)], truth_of).bins

    assert [one.n for one in bins].index(1) == index
    assert bins[index].mean_p == p


@pytest.mark.parametrize("n", [1, 10, 100])
def test_a_calibration_error_has_an_interval_that_few_labels_make_wide(n: int):
    figures = label_figures([label(0.95, truth=1.0) for _ in range(n)], truth_of)

    found = figures.ece_interval
    assert found is not None
    assert (found.value, found.n) == (pytest.approx(0.05), n)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 1 / (n + 20)


def test_the_interval_of_a_calibration_error_holds_what_many_labels_show():
    source = random.Random(4)
    labels = [
        label(p, truth=float(source.random() < 0.5 * p))
        for p in (source.random() for _ in range(400))
    ]

    found = label_figures(labels, truth_of).ece_interval

    # The mean of p − p / 2.
    assert found is not None
    assert found.low < 0.25 < found.high < found.low + 0.12


@pytest.mark.parametrize("n", [2, 60])
def test_a_brier_score_of_labels_that_are_all_alike_leaves_some_width(n: int):
    found = label_figures([label(0.9, truth=1.0) for _ in range(n)], truth_of).brier

    assert found is not None
    assert found.low < found.value < found.high


def test_a_flip_is_a_pair_whose_orders_prefer_different_replies():
    labels = [label(0.7, orders=(0.9, 0.5001)), label(0.6, orders=(0.9, 0.3))]

    assert label_figures(labels).flip_rate == rate(1, 2)


def test_flips_of_near_ties_are_told_apart():
    labels = [label(0.7, orders=(0.9, 0.4)), label(0.5, orders=(0.51, 0.49))]

    figures = label_figures(labels)

    assert is_like(figures.flip_rate, rate(2, 2))
    assert figures.sided_flip_rate == rate(1, 1)


def test_which_position_the_flips_prefer_shows():
    first, second = (0.9, 0.4), (0.2, 0.7)
    labels = [label(0.6, orders=first), label(0.6, orders=first), label(0.5, orders=second)]

    assert is_like(label_figures(labels).flips_to_first, rate(2, 3))


def test_a_liking_for_the_first_position_shows():
    always_first = [label(0.5, orders=(0.8, 0.2)) for _ in range(4)]

    assert is_like(label_figures(always_first).position_first, rate(4, 4))


def test_a_judge_without_a_liking_prefers_each_position_as_often():
    indifferent = [label(0.8, orders=(0.8, 0.8)) for _ in range(4)]

    assert is_like(label_figures(indifferent).position_first, mean_share([0.5] * 4))


def test_swapping_the_replies_changes_no_figure():
    labels = [label(0.7, orders=(0.9, 0.6)), label(0.55, orders=(0.8, 0.3))]

    assert label_figures([one.swap() for one in labels]) == label_figures(labels)


def test_without_a_truth_only_the_judges_own_agreement_is_measured():
    figures = label_figures([label(0.7, orders=(0.9, 0.6))]).to_json()

    assert figures["flip_rate"] == rate(0, 1).to_json()
    assert figures["mass"]["value"] == pytest.approx(0.9)
    assert (figures["accuracy"], figures["brier"], figures["bins"]) == (None, None, [])


def test_figures_are_also_given_by_principle():
    labels = [
        label(0.9, truth=0.9, principle="kind"),
        label(0.2, truth=0.9, principle="honest"),
        label(0.8, truth=0.9, principle="honest"),
    ]

    by_principle = label_figures(labels, truth_of).by_principle

    assert {name: one.accuracy for name, one in by_principle.items()} == {
        "honest": rate(1, 2),
        "kind": rate(1, 1),
    }


def test_labels_of_no_order_have_no_order_figures():
    figures = label_figures([label(1.0)])

    assert (figures.flip_rate, figures.position_first, figures.mass) == (None, None, None)


def test_a_preference_model_is_right_where_the_better_reply_scores_higher():
    pairs = [label(0.5, truth=0.9), label(0.5, truth=0.2), label(0.5, truth=0.6)]

    figures = preference_model_figures(
        pairs, scores_a=[2.0, 1.0, 0.3], scores_b=[1.0, 0.0, 0.3], truth=truth_of
    )

    assert figures.accuracy is not None
    assert (figures.accuracy.value, figures.accuracy.n, figures.pairs) == (0.5, 3, 3)


def test_a_prompt_whose_pairs_are_told_again_is_no_further_evidence():
    once = [
        label(0.9, truth=0.8, orders=(0.9, 0.4), prompt="one"),
        label(0.7, truth=0.3, orders=(0.6, 0.8), prompt="two"),
        label(0.2, truth=0.1, orders=(0.3, 0.45), prompt="three"),
        label(0.6, truth=0.9, orders=(0.7, 0.2), prompt="four"),
    ]

    figures, again = label_figures(once, truth_of), label_figures(once * 5, truth_of)

    assert again.n == 5 * figures.n
    for name in SHARES:
        assert is_like(getattr(again, name), getattr(figures, name)), name


def test_a_preference_model_that_fails_at_whole_prompts_has_a_wide_enough_interval():
    source, held = random.Random(0), 0
    pairs = [label(0.5, truth=0.9, prompt=str(n)) for n in range(40) for _ in range(6)]
    for _ in range(200):
        right = [source.random() < 0.8 for _ in range(40)]
        scores = [float(one) for one in right for _ in range(6)]

        found = preference_model_figures(
            pairs, scores_a=scores, scores_b=[0.5] * 240, truth=truth_of
        ).accuracy

        assert found is not None
        held += found.low <= 0.8 <= found.high
    # As if all 240 pairs were independent it would be in about 55 of 100.
    assert held >= 0.91 * 200


def test_pairs_without_a_better_side_are_left_out_and_counted():
    pairs = [label(0.5, truth=0.5), label(0.5), label(0.5, truth=0.9)]

    figures = preference_model_figures(
        pairs, scores_a=[1, 1, 1], scores_b=[0, 0, 0], truth=truth_of
    )

    assert (figures.accuracy, figures.left_out) == (rate(1, 1), 2)


def test_accuracy_is_told_apart_by_source_and_by_kind_of_prompt():
    pairs = [
        label(0.5, truth=0.9, source="ai", kind="harmful"),
        label(0.5, truth=0.9, source="ai", kind="harmless"),
        label(0.5, truth=0.9, source="human", kind="harmless"),
    ]

    figures = preference_model_figures(
        pairs, scores_a=[1, 0, 1], scores_b=[0, 1, 0], truth=truth_of
    )

    assert figures.by_source == {"ai": rate(1, 2), "human": rate(1, 1)}
    assert figures.by_kind == {"harmful": rate(1, 1), "harmless": rate(1, 2)}


def test_the_keyword_baseline_is_right_on_harmful_and_wrong_on_harmless_prompts():
    pairs = [
        label(0.5, truth=0.9, kind="harmful", a="I'm sorry, I can't help with that."),
        label(0.5, truth=0.1, kind="harmless", a="I'm sorry, I can't help with that."),
    ]

    figures = preference_model_figures(
        pairs,
        scores_a=[1, 0],
        scores_b=[0, 1],
        truth=truth_of,
        baseline=refusal_score(read_patterns("en")),
    )

    assert figures.keyword_baseline == rate(1, 2)
    assert figures.baseline_by_kind == {"harmful": rate(1, 1), "harmless": rate(0, 1)}


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="scores must be finite, got nan"):
        preference_model_figures([label(0.5)], scores_a=[math.nan], scores_b=[0.0], truth=truth_of)


SHARES = (
    *("accuracy", "brier", "flip_rate", "sided_flip_rate", "flips_to_first"),
    *("position_first", "mass"),
)


def is_like(one: Rate | None, other: Rate | None) -> bool:
    assert one is not None and other is not None
    return one.to_json() == pytest.approx(other.to_json())


def truth_of(comparison: Comparison) -> float | None:
    return comparison.provenance.get("truth")


def label(
    p: float,
    *,
    truth: float | None = None,
    orders: tuple[float, float] | None = None,
    principle: str = "kind",
    source: str = "ai",
    kind: str = "harmful",
    a: str = "Yes.",
    prompt: str = "",
) -> Comparison:
    """A label of a prompt of its own, if that is not named."""
    weights = [
        OrderWeights(first, math.log(0.9 * p_a), math.log(0.9 * (1 - p_a)), 0.9, "exact", "")
        for first, p_a in zip("ab", orders or (), strict=False)
    ]
    asked = Prompt((Message("user", prompt or f"How? ({next(NUMBERS)})"),), "test", kind)
    known = {} if truth is None else {"truth": truth}
    return Comparison(
        asked, a, "Sure.", p, principle, tuple(weights), source=source, provenance=known
    )
