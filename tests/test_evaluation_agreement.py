"""Agreement beyond chance, worked out by hand and at its limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.evaluation.agreement import Item, agreements, cohens_kappa

CHOICES = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1)


def table(both: int, first: int, second: int, neither: int) -> list[tuple[str, str]]:
    """Yes and no of two raters: how often both, one of them, or neither said yes."""
    return (
        [("yes", "yes")] * both
        + [("yes", "no")] * first
        + [("no", "yes")] * second
        + [("no", "no")] * neither
    )


@pytest.mark.parametrize(
    ("choices", "kappa"),
    [
        # p_o = 35/50, p_e = 0.5·0.6 + 0.5·0.4 = 0.5, (0.7 − 0.5) / 0.5.
        (table(20, 5, 10, 15), 0.4),
        # p_o = 0.6, p_e = 0.6·0.7 + 0.4·0.3 = 0.54, 0.06 / 0.46.
        (table(45, 15, 25, 15), 0.06 / 0.46),
        (table(3, 0, 0, 2), 1.0),
        (table(0, 5, 5, 0), -1.0),
        # p_o = 5/6, p_e = (3·2 + 2·2 + 1·2) / 36 = 1/3, (5/6 − 1/3) / (2/3).
        ([("a", "a"), ("a", "a"), ("a", "c"), ("b", "b"), ("b", "b"), ("c", "c")], 0.75),
    ],
    ids=["seven in ten", "uneven", "always", "never", "three categories"],
)
def test_kappa_is_as_worked_out_by_hand(choices: list[tuple[str, str]], kappa: float):
    found = cohens_kappa(choices)

    assert found is not None
    assert found.value == pytest.approx(kappa)


def test_the_interval_of_kappa_is_that_of_the_agreement_without_chance():
    found = cohens_kappa(table(20, 5, 10, 15))

    # Wilson's of 35 in 50 is 0.56250 to 0.80896; chance is a half.
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.12499, 0.61793), abs=1e-5)
    assert found.n == 50


def test_kappa_of_a_few_equal_choices_is_not_certain():
    found = cohens_kappa(table(2, 0, 0, 2))

    assert found is not None
    assert found.low < 0.1 < found.value == found.high == 1


@given(CHOICES)
def test_kappa_is_the_same_from_both_sides(choices: list[tuple[str, str]]):
    one, other = cohens_kappa(choices), cohens_kappa([(b, a) for a, b in choices])

    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert one.value == pytest.approx(other.value)
        assert -1 <= one.low <= one.value <= one.high <= 1


def test_two_who_never_choose_anything_else_have_no_kappa():
    assert cohens_kappa([("a", "a")] * 5) is None
    assert cohens_kappa([]) is None


def test_a_judge_that_is_always_undecided_agrees_with_nobody_beyond_chance():
    found = cohens_kappa([("tie", "a"), ("tie", "b")] * 10)

    assert found is not None
    assert found.value == 0


def sided(text: str) -> dict[Item, str]:
    return {Item(str(number), ""): side for number, side in enumerate(text)}


@pytest.mark.parametrize(
    ("theirs", "verdict"),
    [("ab" * 50, "redundant"), ("ba" * 50, "contradicting"), ("aabb" * 25, "")],
    ids=["the same", "the opposite", "by chance"],
)
def test_principles_that_say_the_same_or_the_opposite_are_named(theirs: str, verdict: str):
    (found,) = agreements({"kind": sided("ab" * 50), "other": sided(theirs)})

    assert (found.first, found.second, found.verdict) == ("kind", "other", verdict)


def test_one_pair_under_many_principles_is_one_case():
    under_each = {Item("a pair", str(number)): "ab"[number % 2] for number in range(100)}

    (found,) = agreements({"one judge": under_each, "another": under_each})

    assert found.same is not None and found.kappa is not None
    assert (found.items, found.same.value, found.same.n, found.kappa.n) == (100, 1, 1, 1)
    assert found.verdict == ""


def test_few_pairs_are_no_ground_for_a_verdict():
    (found,) = agreements({"kind": sided("abab"), "other": sided("abab")})

    assert found.same is not None
    assert (found.same.value, found.verdict) == (1, "")


def test_only_what_both_have_chosen_is_compared():
    ours, theirs = sided("ab-"), sided("-ba")
    del ours[Item("2", "")], theirs[Item("0", "")]

    (found,) = agreements({"kind": ours, "other": theirs})

    assert found.same is not None
    assert (found.same.value, found.same.n) == (1, 1)


def test_two_without_a_pair_in_common_have_no_agreement():
    (found,) = agreements({"kind": {Item("1", ""): "a"}, "other": {Item("2", ""): "a"}})

    assert (found.same, found.kappa, found.verdict) == (None, None, "")
