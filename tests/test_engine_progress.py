"""What a person sees of a run, on a terminal and in its log."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from cai.engine import Ledger, Progress, RowEnded, Tally, run_rows
from cai.errors import RunError
from cai.records import Row, RowKey, Usage


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def page(terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=200, color_system=None)


def lines_on(console: Console) -> list[str]:
    return console.file.getvalue().splitlines()


def events_in(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_away_from_a_terminal_a_line_comes_every_few_seconds():
    console, clock, tally = page(), Clock(), Tally()
    with Progress(console=console, clock=clock) as progress:
        stage = progress.stage("revise", tally)
        stage.begin(100)
        for number in range(10):
            clock.now += 1
            tally.of("m").note_made(Usage(1, 1))
            stage.row(Row(RowKey("revision", f"p{number}"), "ok"))
            stage.item()

    assert lines_on(console) == [
        "revise: 0/100 · ok 0 · failed 0 · cached 0",
        "revise: 5/100 · ok 5 · failed 0 · cached 0 · 1.0 calls/s · 1:35 left",
        "revise: 10/100 · ok 10 · failed 0 · cached 0 · 1.0 calls/s · 1:30 left",
    ]


def test_a_total_that_the_source_cannot_tell_can_be_given():
    console = page()
    with Progress(console=console, clock=Clock()) as progress:
        progress.stage("revise", Tally(), total=40).begin(None)

    assert lines_on(console) == ["revise: 0/40 · ok 0 · failed 0 · cached 0"]


def test_failed_rows_and_calls_found_again_are_counted_apart():
    console, clock, tally = page(), Clock(), Tally()
    tally.of("m").cached = 5
    with Progress(console=console, clock=clock) as progress:
        stage = progress.stage("revise", tally)
        tally.of("m").cached += 2
        stage.row(Row(RowKey("revision", "p1"), "ok"))
        stage.row(Row(RowKey("revision", "p2"), "refused", "no"))
        stage.end()

    assert lines_on(console) == ["revise: 0/0 · ok 1 · failed 1 · cached 2"]


def test_on_a_terminal_a_title_with_brackets_is_shown_as_it_is():
    console = page(terminal=True)
    with Progress(console=console) as progress:
        stage = progress.stage("label [red]pairs[/red]", Tally())
        stage.begin(None)
        stage.end()

    assert "label [red]pairs[/red]" in console.file.getvalue()


def test_a_training_shows_its_last_step_and_loss():
    console = page()
    with Progress(console=console, clock=Clock()) as progress:
        report = progress.training("train SL-CAI")
        report(1, 2, 3.5)
        report(2, 2, 0.25)

    assert lines_on(console) == ["train SL-CAI: 2/2 · loss 0.2500"]


async def test_the_log_tells_of_a_stage_from_its_begin_to_its_end(tmp_path):
    async def step(name, log):
        if name == "bad":
            raise RowEnded(RowKey("response", name), "refused", "declined")
        await log.ok(RowKey("response", name), {}, ())

    log = tmp_path / "log.jsonl"
    with (
        Ledger.open(tmp_path / "ledger.sqlite") as ledger,
        Progress(log, console=page()) as progress,
    ):
        stage = progress.stage("reply", Tally())
        await run_rows(
            ["good", "bad"], step, ledger=ledger, in_flight=1, progress=stage, stages=["response"]
        )

    began, row, ended = events_in(log)
    assert (began["event"], began["title"], began["total"]) == ("stage_began", "reply", 2)
    assert (row["event"], row["prompt_id"], row["reason"]) == ("row", "bad", "declined")
    assert (ended["event"], ended["rows"]) == ("stage_ended", {"ok": 1, "refused": 1})


def test_the_log_tells_why_a_run_stopped_and_goes_on_with_the_next(tmp_path):
    log = tmp_path / "log.jsonl"
    for reason in ("first", "second"):
        with pytest.raises(RunError), Progress(log, console=page()):
            raise RunError(reason)

    assert [event["error"] for event in events_in(log)] == ["RunError: first", "RunError: second"]


def test_a_log_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"log\.jsonl cannot be written"):
        Progress(tmp_path / "nowhere" / "log.jsonl")
