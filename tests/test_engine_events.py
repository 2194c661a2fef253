"""The log of a run: what it tells, and that it outlives the processes that write it."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from cai.engine import Ledger, Progress, RowEnded, Tally, run_rows
from cai.engine.events import UnreadableLine, read_events
from cai.errors import RunError
from cai.records import Row, RowKey


def page() -> Console:
    return Console(file=io.StringIO(), width=200)


def events_in(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def names(events: list[dict]) -> list[str]:
    return [event["event"] for event in events]


async def test_the_log_tells_of_a_stage_from_its_begin_to_its_end(tmp_path):
    async def step(name, log):
        if name == "bad":
            raise RowEnded(RowKey("response", name), "refused", "declined by https://me:pw@host/v1")
        await log.ok(RowKey("response", name), {}, ())

    log = tmp_path / "log.jsonl"
    with (
        Ledger.open(tmp_path / "ledger.sqlite") as ledger,
        Progress(log, about={"command": "cai run x"}, console=page()) as progress,
    ):
        stage = progress.stage("reply", Tally())
        await run_rows(
            ["good", "bad"], step, ledger=ledger, in_flight=1, progress=stage, stages=["response"]
        )

    run_began, began, row, ended, run_ended = events_in(log)
    assert (run_began["event"], run_began["command"]) == ("run_began", "cai run x")
    assert (began["event"], began["title"], began["total"]) == ("stage_began", "reply", 2)
    assert (row["event"], row["prompt_id"]) == ("row", "bad")
    assert row["reason"] == "declined by https://…@host/v1"
    assert (ended["event"], ended["rows"]) == ("stage_ended", {"ok": 1, "refused": 1})
    assert run_ended["event"] == "run_ended"


def test_the_same_events_go_to_a_stream_in_place_of_a_display(tmp_path):
    log, stream, console = tmp_path / "log.jsonl", io.BytesIO(), page()
    with Progress(log, events=stream, console=console) as progress:
        stage = progress.stage("revise", Tally())
        stage.begin(1)
        stage.row(Row(RowKey("revision", "p1"), "error", "busy"))
        progress.say("mind the gap")
        stage.end()

    assert stream.getvalue() == log.read_bytes()
    assert names(events_in(log)) == [
        "run_began",
        "stage_began",
        "row",
        "said",
        "stage_ended",
        "run_ended",
    ]
    assert console.file.getvalue() == ""


def test_the_log_tells_why_a_run_stopped_and_goes_on_with_the_next(tmp_path):
    log = tmp_path / "log.jsonl"
    for reason in ("first", "second"):
        with pytest.raises(RunError), Progress(log, console=page()):
            raise RunError(reason)

    stopped = [event for event in events_in(log) if event["event"] == "stopped"]
    assert [event["error"] for event in stopped] == ["RunError: first", "RunError: second"]


def test_a_line_that_a_killed_process_left_half_written_spoils_no_other(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"time":"2026-11-21T13:00:00+00:00","eve')

    with Progress(log, console=page()):
        pass

    lines = log.read_text().splitlines()
    assert names([json.loads(line) for line in lines[1:]]) == ["run_began", "run_ended"]


def test_a_log_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"log\.jsonl cannot be written"):
        Progress(tmp_path / "nowhere" / "log.jsonl")


def test_what_cannot_be_read_of_a_log_is_told_and_not_hidden(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"event":"run_began"}\nnot json\n[1]\n{"event":"run_en')

    assert list(read_events(log)) == [
        {"event": "run_began"},
        UnreadableLine(2, cut_off=False),
        UnreadableLine(3, cut_off=False),
        UnreadableLine(4, cut_off=True),
    ]


def test_a_log_that_is_not_there_holds_no_events(tmp_path):
    assert list(read_events(tmp_path / "log.jsonl")) == []


def test_a_stream_that_nobody_reads_any_more_stops_the_run():
    class ClosedPipe(io.BytesIO):
        def write(self, lines):
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(RunError, match="standard error cannot be written: Broken pipe"):
        Progress(events=ClosedPipe()).say("hello")
