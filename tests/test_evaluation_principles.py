import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.evaluation.principles import (
    Drawn,
    PrincipleRows,
    principle_figures,
    votes_of,
    without,
)
from cai.records import Comparison, Message, OrderWeights, Prompt

NUMBERS = itertools.count()


def drawn(principles: str, value: float, prompt: str = "") -> Drawn:
    """A row of a prompt of its own, if that is not named."""
    return Drawn(frozenset(principles.split()), value, prompt or str(next(NUMBERS)))


def label(*votes: tuple[str, float, float]) -> Comparison:
    """A label of one or several principles, each with P(a better) in both orders."""
    orders = [
        OrderWeights(first, math.log(p), math.log(1 - p), 1.0, "exact", "c", principle=name)
        for name, p_a_first, p_b_first in votes
        for first, p in (("a", p_a_first), ("b", p_b_first))
    ]
    p_a = sum(p + q for _, p, q in votes) / (2 * len(votes))
    names = " + ".join(name for name, _, _ in votes)
    asked = Message("user", f"How do I bake {next(NUMBERS)} loaves?")
    prompt = Prompt((asked,), "tests", "harmless")
    return Comparison(prompt, "yes", "no", p_a, names, tuple(orders))


def test_a_figure_without_a_principle_is_that_of_the_rows_that_did_not_draw_it():
    cases = [drawn("theft", 1), drawn("theft privacy", 1), drawn("privacy", 0), drawn("kind", 1)]

    found = without(cases, "theft")

    assert found is not None
    assert (found.without.value, found.without.n) == (0.5, 2)
    assert found.change.value == pytest.approx(0.5 - 0.75)


def test_rows_of_one_prompt_are_one_case_of_what_would_be_without_a_principle():
    names = ("theft", "kind")
    once = [drawn(names[n % 2], float(n % 3 == 0), str(n)) for n in range(20)]

    found, again = without(once, "theft"), without(once * 4, "theft")

    assert found is not None and again is not None
    for one, other in ((found.without, again.without), (found.change, again.change)):
        assert one.to_json() == pytest.approx(other.to_json())


def test_a_principle_that_every_row_drew_has_nothing_to_be_compared_with():
    assert without([drawn("theft", 1), drawn("theft", 0)], "theft") is None
    assert without([drawn("theft", 1)], "privacy") is None


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60))
def test_the_change_is_what_the_mean_would_move_by(rows: list[tuple[bool, bool]]):
    cases = [drawn("theft" if drew else "kind", float(harms)) for drew, harms in rows]

    found = without(cases, "theft")

    if found is not None:
        mean = sum(one.value for one in cases) / len(cases)
        assert found.change.value == pytest.approx(found.without.value - mean)
        assert found.change.low <= found.change.value <= found.change.high


def test_rows_that_got_no_label_lower_the_label_rate_of_their_principle():
    rows = PrincipleRows(labels=[drawn("theft", 1), drawn("theft", 0), drawn("kind", 1)])

    figures = principle_figures(rows)

    assert figures["theft"].labels is not None
    assert (figures["theft"].labels.value, figures["theft"].labels.n) == (0.5, 2)
    assert figures["theft"].revisions is None


def test_a_principle_agrees_with_the_truth_and_with_itself_by_its_own_labels():
    labels = [label(("theft", 0.9, 0.8)), label(("theft", 0.7, 0.4)), label(("kind", 0.1, 0.2))]

    figures = principle_figures(PrincipleRows(comparisons=labels), truth=lambda pair: 0.0)

    assert figures["theft"].orders_agree.value == 0.5
    assert figures["theft"].truth_agrees.value == 0.0
    assert figures["kind"].truth_agrees.value == 1.0


def test_a_label_of_several_principles_turns_where_one_vote_outweighs_the_others():
    turned = label(("theft", 0.95, 0.95), ("kind", 0.4, 0.4), ("calm", 0.4, 0.4))
    kept = label(("theft", 0.9, 0.9), ("kind", 0.8, 0.8))

    figures = principle_figures(PrincipleRows(comparisons=[turned, kept]))

    assert (figures["theft"].turned.value, figures["theft"].turned.n) == (0.5, 2)
    assert figures["theft"].others_agree.value == 0.5
    assert figures["calm"].turned.value == 0.0


def test_the_votes_of_a_principle_are_averaged_over_both_orders():
    assert votes_of(label(("theft", 0.9, 0.7), ("kind", 0.2, 0.4))) == {
        "theft": pytest.approx(0.8),
        "kind": pytest.approx(0.3),
    }


def test_nothing_is_said_of_what_would_be_where_the_draw_depends_on_the_prompt():
    cases = [drawn("theft", 1), drawn("kind", 0)]

    alike = principle_figures(PrincipleRows(last_texts=cases))
    not_alike = principle_figures(PrincipleRows(last_texts=cases, drawn_alike=False))

    assert "harm" in alike["theft"].left_out
    assert not not_alike["theft"].left_out


def test_figures_of_a_principle_are_plain_json():
    figures = principle_figures(PrincipleRows(last_texts=[drawn("theft", 1), drawn("kind", 0)]))

    written = figures["theft"].to_json()

    assert written["left_out"]["harm"]["without"]["n"] == 1
    assert written["labels"] is None
