"""How fast a stage goes, and what time and money it will take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.engine.pace import Outlook, Pace, Rates
from cai.engine.tally import Counts


def test_rates_are_those_of_the_last_ten_seconds():
    pace = Pace(0.0)
    for second in range(1, 101):
        made = second if second <= 90 else 90 + 5 * (second - 90)
        pace.note(second, Counts(made=made, input_tokens=10 * made, output_tokens=2 * made))

    rates = pace.rates(100.0, Counts(made=140, input_tokens=1400, output_tokens=280))

    assert rates == Rates(calls=5.0, input_tokens=50.0, output_tokens=10.0)


def test_a_model_that_has_gone_silent_has_a_rate_of_zero_after_ten_seconds():
    pace = Pace(0.0)
    for second in range(1, 31):
        pace.note(second, Counts(made=min(second, 15)))

    assert pace.rates(30.0, Counts(made=15)).calls == 0


def test_a_stage_that_has_just_begun_has_no_rate():
    assert Pace(5.0).rates(5.0, Counts()) == Rates()


def test_time_and_cost_in_the_end_are_those_of_an_even_pace():
    pace = Pace(0.0)
    half = Counts(made=30, cost=3.0)

    assert pace.outlook(60.0, half, 0.5) == Outlook(seconds=60.0, cost=6.0)


def test_calls_found_at_first_do_not_make_what_is_to_come_cheap():
    pace = Pace(0.0)
    pace.note(1.0, Counts(cached=500))
    for second in range(2, 102):
        pace.note(second, Counts(made=second - 1, cached=500, cost=float(second - 1)))

    # 600 calls are seen at six tenths of the work: 400 are left, at a dollar and a second each.
    outlook = pace.outlook(101.0, Counts(made=100, cached=500, cost=100.0), 0.6)

    assert outlook.seconds == pytest.approx(400)
    assert outlook.cost == pytest.approx(500)


def test_nothing_is_foreseen_before_anything_has_ended():
    assert Pace(0.0).outlook(60.0, Counts(made=30, cost=3.0), 0.0) == Outlook(None, None)


def test_no_end_is_foreseen_while_nothing_is_answered():
    pace = Pace(0.0)
    for second in range(1, 200):
        pace.note(second, Counts(made=10, cost=1.0))

    assert pace.outlook(199.0, Counts(made=10, cost=1.0), 0.5) == Outlook(None, 2.0)


def test_rows_that_need_no_calls_are_foreseen_by_the_time_they_took():
    assert Pace(0.0).outlook(30.0, Counts(), 0.75).seconds == 10.0


def test_an_unknown_cost_stays_unknown():
    assert Pace(0.0).outlook(30.0, Counts(made=4, cost=None), 0.5).cost is None


@given(
    moments=st.lists(
        st.tuples(st.floats(0.01, 100), st.integers(0, 50), st.integers(0, 50), st.floats(0, 9)),
        min_size=1,
        max_size=40,
    ),
    share=st.floats(0.001, 1),
)
def test_the_cost_foreseen_is_never_less_than_the_cost_so_far(moments, share):
    pace, now, counts = Pace(0.0), 0.0, Counts()
    for seconds, made, cached, dollars in moments:
        now += seconds
        counts += Counts(made=made, cached=cached, cost=dollars if made else 0.0)
        pace.note(now, counts)

    outlook = pace.outlook(now, counts, share)

    assert outlook.cost is not None
    assert outlook.cost >= counts.cost
    assert outlook.seconds is None or outlook.seconds >= 0


@given(
    parts=st.lists(
        st.tuples(st.integers(0, 9), st.none() | st.floats(0, 9, allow_nan=False)), min_size=2
    )
)
def test_what_came_after_a_moment_and_what_came_before_make_the_whole(parts):
    costs = [Counts(made=made, cost=cost if made else 0.0) for made, cost in parts]
    before, whole = costs[0], sum(costs[1:], costs[0])

    again = before + whole.since(before)

    assert again.made == whole.made
    assert again.cost is None if whole.cost is None else again.cost == pytest.approx(whole.cost)
