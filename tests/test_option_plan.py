"""Options of several tokens: a reply counts for the longest option that it begins with."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Mapping, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cai.models.option_plan import OptionPlan, Path, option_plan
from cai.models.option_rests import weigh_rests
from cai.models.weighing import bounded_by_top_k, mass
from cai.records import Usage, Weighed

TOKENS = "012"
LONGEST = 3

Table = Mapping[Path, Sequence[float]]
"""Of each beginning of a reply, the probabilities of the tokens that may come next."""

BEFORE = [path for n in range(LONGEST) for path in itertools.product(range(3), repeat=n)]


@st.composite
def models(draw: st.DrawFn) -> Table:
    """A model of three tokens, whose replies have three of them; some are all but impossible."""
    weights = st.lists(st.sampled_from([1e-9, 0.1, 1.0, 7.0]), min_size=3, max_size=3)
    drawn = {before: draw(weights) for before in BEFORE}
    return {before: [one / sum(of) for one in of] for before, of in drawn.items()}


options_of_digits = st.lists(
    st.text(TOKENS, min_size=1, max_size=LONGEST), min_size=1, max_size=6, unique=True
)


def true_shares(model: Table, options: Sequence[str]) -> list[float]:
    """Probability of the replies whose longest beginning among the options is each of them."""
    shares = dict.fromkeys(options, 0.0)
    for reply in itertools.product(range(3), repeat=LONGEST):
        text = "".join(TOKENS[token] for token in reply)
        p = math.prod(model[reply[:at]][token] for at, token in enumerate(reply))
        begun = [option for option in options if text.startswith(option)]
        if begun:
            shares[max(begun, key=len)] += p
    return [shares[option] for option in options]


def plan_of(options: Sequence[str]) -> OptionPlan:
    return option_plan([7, 8], options, lambda text: [tuple(map(TOKENS.index, text))])


@given(models(), options_of_digits)
def test_each_option_has_the_replies_that_no_longer_option_begins(
    model: Table, options: Sequence[str]
):
    plan = plan_of(options)

    table = {
        before: {token: math.log(model[before][token]) for token in tokens}
        for before, tokens in plan.steps.items()
    }
    found = [math.exp(logprob) for logprob in plan.logprobs_of_steps(table)]

    assert found == pytest.approx(true_shares(model, options), abs=1e-12)


@given(models(), options_of_digits)
def test_the_rows_of_a_plan_have_all_its_steps(model: Table, options: Sequence[str]):
    plan = plan_of(options)
    scores = [
        torch.tensor([model[tuple(row.ids[2 : 2 + at])] for at in range(row.tail)]).log()
        for row in plan.rows
    ]

    found = [math.exp(logprob) for logprob in plan.logprobs(scores)]

    assert found == pytest.approx(true_shares(model, options), abs=1e-5)
    assert len({tuple(row.ids) for row in plan.rows}) == len(plan.rows) <= len(plan.steps)


def listed(model: Table, begun: str, count: int) -> list[tuple[str, float]]:
    """The likeliest tokens after a beginning, as a server lists them."""
    shares = model[tuple(map(TOKENS.index, begun))]
    every = sorted(zip(TOKENS, map(math.log, shares), strict=True), key=lambda one: -one[1])
    return every[:count]


@given(models(), options_of_digits, st.integers(1, 3))
def test_a_bound_from_the_likeliest_tokens_is_never_too_low(
    model: Table, options: Sequence[str], count: int
):
    bounds = bounded_by_top_k(listed(model, "", count), options)

    for bound, share in zip(bounds.logprobs, true_shares(model, options), strict=True):
        assert math.exp(bound) >= share - 1e-12


async def test_ten_is_told_from_one_where_only_one_is_listed():
    asked: list[tuple[str, Sequence[str]]] = []
    top = [("1", math.log(0.9)), ("2", math.log(0.1))]
    options = [str(number) for number in range(1, 11)]

    async def weigh(text: str, rests: Sequence[str]) -> Weighed:
        asked.append((text, rests))
        return Weighed((math.log(0.8),), 0.8, "top_k", Usage(5, 1), "m")

    bounds = bounded_by_top_k(top, options)
    first = Weighed(bounds.logprobs, bounds.mass, "top_k", Usage(4, 1), "m")
    told = await weigh_rests(first, top, options, weigh)

    assert asked == [("1", ["0"])]
    assert math.exp(told.logprobs[0]) == pytest.approx(0.18)
    assert math.exp(told.logprobs[9]) == pytest.approx(0.72)
    assert told.mass == pytest.approx(1.0)
    assert told.usage == Usage(9, 2)


@given(models(), options_of_digits)
def test_what_comes_after_listed_tokens_tells_options_apart(model: Table, options: Sequence[str]):
    async def weigh(begun: str, rests: Sequence[str]) -> Weighed:
        top = listed(model, begun, 3)
        bounds = bounded_by_top_k(top, rests)
        first = Weighed(bounds.logprobs, bounds.mass, "top_k", Usage(), "m")
        return await weigh_rests(first, top, rests, lambda text, more: weigh(begun + text, more))

    told = asyncio.run(weigh("", options))

    shares = true_shares(model, options)
    # Behind a token of less than one in a hundred nothing is asked.
    assert [math.exp(one) for one in told.logprobs] == pytest.approx(shares, abs=0.03)
    assert told.mass <= 1


async def test_a_model_that_declines_to_go_on_declines_the_label():
    top = [("1", math.log(0.9))]

    async def weigh(text: str, rests: Sequence[str]) -> Weighed:
        return Weighed((), 0.0, "top_k", Usage(), "m", refused=True)

    first = Weighed((math.log(0.9),) * 2, 0.9, "top_k", Usage(), "m")
    told = await weigh_rests(first, top, ["1", "10"], weigh)

    assert told.refused
    assert told.logprobs == ()


def test_spellings_of_one_option_add_up():
    plan = OptionPlan((1,), ("A", "xy"), (((5,), (6,)), ((8, 9),)))
    table = {(): {5: -1.0, 6: -1.0, 8: -2.0}, (8,): {9: -3.0}}

    assert plan.logprobs_of_steps(table) == pytest.approx((-1.0 + math.log(2), -5.0))


def test_each_place_before_an_options_tokens_is_asked_about_once():
    plan = OptionPlan((1, 2), tuple("ABCD"), (((5,), (6,)), ((7,),), ((8, 9, 10),), ((8, 9, 11),)))

    assert plan.steps == {(): (5, 6, 7, 8), (8,): (9,), (8, 9): (10, 11)}
    assert [(tuple(row.ids), row.tail) for row in plan.rows] == [((1, 2, 8, 9), 3)]


def test_what_is_impossible_is_finite_all_the_same():
    plan = OptionPlan((1,), ("A", "xy"), (((5,), (6,)), ((8, 9),)))
    none = -math.inf
    table = {(): {5: none, 6: none, 8: none}, (8,): {9: -3.0}}

    assert plan.logprobs_of_steps(table) == (-708.0, -708.0)


def test_a_longer_option_that_takes_all_leaves_the_shorter_one_nothing():
    plan = OptionPlan((1,), ("1", "10"), (((5,),), ((5, 6),)))
    table = {(): {5: -0.5}, (5,): {6: 0.0}}

    assert plan.logprobs_of_steps(table) == (-708.0, -0.5)


def test_a_spelling_that_goes_on_from_another_of_its_own_option_counts_once():
    plan = option_plan([1], ["A"], lambda text: [(5,), (5, 6), (5,)])

    assert plan.paths == (((5,),),)
    assert mass(plan.logprobs_of_steps({(): {5: -1.0}})) == pytest.approx(math.exp(-1))
