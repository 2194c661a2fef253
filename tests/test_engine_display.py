"""Which figures of a run are shown where there is little room for them."""

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cai.engine.display import Bars, line_of, lines_for
from cai.engine.standing import Part, Standing, brief, clock, dollars, fitted, rate
from cai.engine.tally import Counts

BUSY = Standing(
    "critique and revise",
    312,
    500,
    seconds=65,
    rows={"ok": 1203, "refused": 12, "error": 3, "truncated": 1},
    calls=Counts(made=2406, cached=412, retries=31, input_tokens=1_214_000, output_tokens=310_400),
    in_flight=64,
    limits=("the provider's limit of input tokens",),
    calls_per_second=35.21,
    input_tokens_per_second=3412.0,
    output_tokens_per_second=890.4,
    seconds_left=40.2,
)
PAID = replace(
    BUSY,
    calls=replace(BUSY.calls, cost=0.42),
    projected_cost=3.104,
)


def screen(standing: Standing, width: int) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    Bars(console).show(replace(standing, ended=True))
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


def drawn(standing: Standing, width: int) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    bars = Bars(console)
    bars.show(standing)
    bars.close()
    return console.file.getvalue().splitlines()


def test_120_columns_hold_every_figure():
    assert lines_for(PAID, 120) == [
        "312/500 · 1:05 · 0:40 left",
        "ok 1,203 · refused 12 · failed 4 (3 error, 1 truncated)",
        "64 in flight · 2,406 calls · 412 cached · 35.2 calls/s · 31 retries",
        "1.2M tokens in, 310.4k out · 3.4k/s in, 890/s out · $0.42 of about $3.10",
        "held back: the provider's limit of input tokens",
    ]


def test_80_columns_hold_every_figure_too():
    assert lines_for(PAID, 80) == lines_for(PAID, 120)


def test_60_columns_lose_speed_of_tokens_and_number_of_calls_first():
    assert lines_for(PAID, 60) == [
        "312/500 · 1:05 · 0:40 left",
        "ok 1,203 · refused 12 · failed 4 (3 error, 1 truncated)",
        "64 in flight · 412 cached · 35.2 calls/s · 31 retries",
        "1.2M tokens in, 310.4k out · $0.42 of about $3.10",
        "held back: the provider's limit of input tokens",
    ]


def test_40_columns_keep_what_is_done_how_rows_ended_and_what_was_paid():
    head, rows, calls, tokens, _ = lines_for(PAID, 40)

    assert head == "312/500"
    assert rows == "ok 1,203 · refused 12 · failed 4"
    assert calls == "64 in flight · 412 cached"
    assert tokens == "$0.42 of about $3.10"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_nothing_is_drawn_beyond_the_edge_of_the_terminal(width):
    assert max(len(line) for line in drawn(PAID, width) if "\x1b" not in line) <= width
    assert max(len(line) for line in screen(PAID, width) if "\x1b" not in line) <= width


@given(
    width=st.integers(60, 200),
    numbers=st.lists(st.integers(0, 10**7), min_size=6, max_size=6),
    cost=st.none() | st.floats(0, 1e5),
)
def test_lines_of_figures_fit_from_60_columns_on_whatever_the_figures(width, numbers, cost):
    ok, refused, failed, made, cached, tokens = numbers
    standing = Standing(
        "reply to helpful prompts",
        ok,
        ok + failed,
        rows={"ok": ok, "refused": refused, "error": failed},
        calls=Counts(made, cached, failed, tokens * 100, tokens, cost),
        in_flight=cached,
        calls_per_second=made / 7,
        projected_cost=None if cost is None else cost * 3,
    )

    assert all(len(line) <= width - 2 for line in lines_for(standing, width))


def test_a_stage_that_has_ended_stays_in_two_lines_with_what_matters_most():
    assert screen(PAID, 80)[-1] == (
        "  ok 1,203 · refused 12 · failed 4 · 412 cached · 35.2 calls/s · $0.42"
    )


def test_a_plain_line_holds_everything():
    assert line_of(PAID) == (
        "critique and revise: 312/500 · ok 1,203 · refused 12 · failed 4 (3 error, 1 truncated)"
        " · 64 in flight · 2,406 calls · 412 cached · 35.2 calls/s · 31 retries"
        " · 1.2M tokens in, 310.4k out · 3.4k/s in, 890/s out · $0.42 of about $3.10"
        " · held back: the provider's limit of input tokens · 1:05 · 0:40 left"
    )


def test_models_that_cost_nothing_show_no_cost():
    assert "$" not in line_of(BUSY)
    assert "cost" not in line_of(BUSY)


def test_an_unknown_price_is_said_to_be_unknown():
    assert "cost unknown" in line_of(replace(BUSY, calls=replace(BUSY.calls, cost=None)))


def test_parts_of_rank_0_are_kept_even_where_they_do_not_fit():
    assert fitted([Part("kept"), Part("long", rank=2, short="l"), Part("gone", rank=1)], 1) == (
        "kept · l"
    )


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (brief(999), "999"),
        (brief(1_234), "1.2k"),
        (brief(31_000_000), "31.0M"),
        (brief(4_500_000_000), "4.5B"),
        (clock(7.4), "0:07"),
        (clock(3723), "1:02:03"),
        (rate(1204.4), "1,204"),
        (rate(12.34), "12.3"),
        (rate(0.251), "0.25"),
        (dollars(1234.5), "$1,234.50"),
        (dollars(0.00421), "$0.0042"),
        (dollars(0.0000001), "under $0.0001"),
    ],
)
def test_numbers_are_short_and_tell_their_size(shown, expected):
    assert shown == expected
