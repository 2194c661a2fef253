"""What a person sees of a run, on a terminal and in its log."""

import asyncio
import io
import json
from pathlib import Path

from rich.console import Console

from cai.engine import BoughtModel, Ledger, Progress, Tally, making, run_rows
from cai.models.prices import Prices
from cai.records import Completion, Message, Row, RowKey, Sampling, Usage


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def page(terminal: bool = False, width: int = 200) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)


def lines_on(console: Console) -> list[str]:
    return console.file.getvalue().splitlines()


def events_in(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def names(events: list[dict]) -> list[str]:
    return [event["event"] for event in events]


def ok(number: int, calls: int = 1) -> Row:
    return Row(RowKey("revision", f"p{number}"), "ok", calls=tuple("abc"[:calls]))


def test_away_from_a_terminal_a_line_comes_every_few_seconds():
    console, clock, tally = page(), Clock(), Tally()
    free = Prices(input=0, output=0)
    with Progress(console=console, clock=clock) as progress:
        stage = progress.stage("revise", tally)
        stage.begin(100)
        for number in range(10):
            clock.now += 1
            tally.of("m").note_made(Usage(100, 20), free)
            stage.row(ok(number))
            stage.item(1)
            stage.tick()

    begin, middle, last = lines_on(console)
    assert begin == (
        "revise: 0/100 · ok 0 · refused 0 · failed 0 · 0 in flight · 0 calls · 0 cached · 0:00"
    )
    assert middle == (
        "revise: 5/100 · ok 5 · refused 0 · failed 0 · 0 in flight · 5 calls · 0 cached"
        " · 1.0 calls/s · 500 tokens in, 100 out · 100/s in, 20/s out · 0:05 · 1:35 left"
    )
    assert last.startswith("revise: 10/100 · ok 10 ")


def test_what_is_left_to_do_follows_the_last_minute_and_not_the_calls_found_at_first():
    console, clock, tally = page(), Clock(), Tally()
    with Progress(console=console, clock=clock) as progress:
        stage = progress.stage("revise", tally)
        stage.begin(200)
        tally.of("m").cached += 100
        for number in range(100):
            stage.row(ok(number))
            stage.item(1)
        for number in range(100, 170):
            clock.now += 1
            tally.of("m").note_made(Usage(1, 1), Prices(input=1e6, output=0))
            stage.row(ok(number))
            stage.item(1)
            stage.tick()

    assert lines_on(console)[-1].endswith("$70.00 of about $100.00 · 1:10 · 0:30 left")


def test_rows_of_items_under_way_count_for_what_is_done():
    console, clock, tally = page(), Clock(), Tally()
    with Progress(console=console, clock=clock) as progress:
        stage = progress.stage("revise", tally)
        stage.begin(10)
        clock.now += 8
        for number in range(8):
            tally.of("m").cached += 2 if number == 0 else 1
            stage.row(ok(number, calls=2 if number == 0 else 1))
        stage.item(2)
        stage.tick()

    # Of 20 calls that ten items need, nine are seen after eight seconds.
    assert lines_on(console)[-1].endswith("0:08 · 0:10 left")


def test_a_total_that_the_source_cannot_tell_can_be_given():
    console = page()
    with Progress(console=console, clock=Clock()) as progress:
        progress.stage("revise", Tally(), total=40).begin(None)

    assert lines_on(console)[0].startswith("revise: 0/40 · ")


def test_failed_rows_are_told_by_status_and_calls_of_other_stages_not_at_all():
    console, tally = page(), Tally()
    tally.of("m").cached = 5
    tally.of("m").note_made(Usage(7, 7))
    with Progress(console=console, clock=Clock()) as progress:
        stage = progress.stage("revise", tally)
        tally.of("m").cached += 2
        for number, status in enumerate(["ok", "refused", "error", "error", "truncated"]):
            stage.row(Row(RowKey("revision", f"p{number}"), status, "why"))
        stage.end()

    assert lines_on(console) == [
        "revise: 0 · ok 1 · refused 1 · failed 3 (2 error, 1 truncated) · 0 calls · 2 cached · 0:00"
    ]


def test_the_price_of_another_stage_is_no_reason_not_to_tell_this_ones():
    console, tally = page(), Tally()
    tally.of("unpriced").note_made(Usage(7, 7))
    with Progress(console=console, clock=Clock()) as progress:
        stage = progress.stage("revise", tally)
        tally.of("priced").note_made(Usage(1_000_000, 0), Prices(input=2.5, output=0))
        stage.end()
        stage = progress.stage("label", tally)
        tally.of("unpriced").note_made(Usage(1, 1))
        stage.end()

    revise, label = lines_on(console)
    assert "$2.50" in revise
    assert "cost unknown" in label


def test_calls_in_flight_and_what_holds_them_back_are_shown():
    console, tally = page(), Tally()
    tally.of("m").in_flight, tally.of("m").limit = 32, "32 calls at once since an overload"
    with Progress(console=console, clock=Clock()) as progress:
        progress.stage("revise", tally).begin(2)

    assert "32 in flight" in lines_on(console)[0]
    assert "held back: 32 calls at once since an overload" in lines_on(console)[0]


def test_a_stage_that_stops_says_what_it_waits_for():
    console, clock = page(), Clock()
    with Progress(console=console, clock=clock) as progress:
        stage = progress.stage("revise", Tally())
        stage.begin(2)
        clock.now += 5
        stage.tick(stopping=True)

    assert lines_on(console)[-1].endswith("stopping, waiting for calls in flight")


def test_on_a_terminal_a_title_with_brackets_is_shown_as_it_is():
    console = page(terminal=True)
    with Progress(console=console) as progress:
        stage = progress.stage("label [red]pairs[/red]", Tally())
        stage.begin(None)
        stage.end()

    assert "label [red]pairs[/red]" in console.file.getvalue()


def test_lines_hold_no_control_characters_whatever_a_provider_sends():
    console, tally = page(), Tally()
    tally.of("m").limit = "wait\x1b[2J\r\nplease"
    with Progress(console=console, clock=Clock()) as progress:
        progress.stage("revise", tally).begin(2)
        progress.say("read this\x07")

    assert all(sign.isprintable() for line in lines_on(console) for sign in line)
    assert len(lines_on(console)) == 2


def test_a_training_shows_its_last_step_and_loss():
    console = page()
    with Progress(console=console, clock=Clock()) as progress:
        report = progress.training("train SL-CAI")
        report(1, 2, 3.5)
        report(2, 2, 0.25)

    assert lines_on(console) == ["train SL-CAI: 2/2 · loss 0.2500 · 0:00"]


def test_a_training_that_goes_on_tells_its_time_from_the_steps_of_today():
    console, clock = page(), Clock()
    with Progress(console=console, clock=clock) as progress:
        report = progress.training("train SL-CAI")
        for step in range(51, 62):
            clock.now += 2
            report(step, 101, 1.0)

    assert lines_on(console)[-1] == "train SL-CAI: 59/101 · loss 1.0000 · 0:18 · 1:24 left"


async def test_figures_are_shown_and_noted_while_no_item_ends(tmp_path):
    clock, seen = Clock(), asyncio.Event()

    class SlowModel:
        identity = "slow"

        async def complete(self, messages, sampling):
            await seen.wait()
            return Completion("fine", "stop", Usage(1, 1), "slow")

    class Watched(type(page())):
        def print(self, *arguments, **settings):
            clock.now += 10  # the next tick is due at once
            super().print(*arguments, **settings)
            if "1 in flight" in self.file.getvalue():
                seen.set()

    async def step(name, log):
        key = RowKey("response", name)
        with making(key):
            reply = await model.complete((Message("user", "hello"),), Sampling())
        await log.ok(key, {}, (reply.call,))

    log = tmp_path / "log.jsonl"
    with (
        Ledger.open(tmp_path / "ledger.sqlite") as ledger,
        Progress(log, console=Watched(file=io.StringIO()), clock=clock) as progress,
    ):
        tally = Tally()
        model = BoughtModel(SlowModel(), ledger, tally=tally)
        stage = progress.stage("reply", tally)
        await run_rows(["a"], step, ledger=ledger, in_flight=1, progress=stage, stages=["response"])

    standing = next(event for event in events_in(log) if event["event"] == "stage")
    assert (standing["done"], standing["in_flight"]) == (0, 1)
