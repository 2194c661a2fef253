"""The ledger keeps calls and rows: durably, once, and for one writer at a time."""

import asyncio
import fcntl
import os
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from cai.engine import Ledger, StoredCall, opening
from cai.errors import RunError
from cai.records import Row, RowKey, Usage

CALL = StoredCall("k1", "complete", "scripted:m", "{}", '{"text": "yes"}', Usage(3, 2), 0.5, 1e9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def row(prompt_id: str, stage: str = "response", status: str = "ok", **place: int) -> Row:
    record = {"text": prompt_id} if status == "ok" else None
    return Row(RowKey(stage, prompt_id, **place), status, "", record, ("k1",))


def commits_in(wal: Path) -> int:
    frames = memoryview(wal.read_bytes())
    page_size = int.from_bytes(frames[8:12], "big")
    size = 24 + page_size
    sizes_after_commit = (frames[at + 4 : at + 8] for at in range(32, len(frames), size))
    return sum(any(mark) for mark in sizes_after_commit)


async def test_a_call_is_found_again_after_the_ledger_was_closed(path: Path):
    with Ledger.open(path) as ledger:
        await ledger.put_call(CALL)

    with Ledger.open(path) as ledger:
        assert ledger.call("k1") == CALL
        assert ledger.call("k2") is None


async def test_the_first_answer_to_a_call_is_never_replaced(path: Path):
    with Ledger.open(path) as ledger:
        await ledger.put_call(CALL)
        await ledger.put_call(replace(CALL, response="another"))

        assert ledger.call("k1") == CALL


async def test_a_look_at_a_finished_run_leaves_nothing_beside_its_ledger(path: Path):
    with Ledger.open(path) as ledger:
        await ledger.put_call(CALL)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}

    with Ledger.open(path, read_only=True) as ledger:
        assert ledger.call("k1") == CALL
        assert list(ledger.rows()) == []

    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


async def test_a_run_can_begin_while_another_process_looks_whose_it_is(path: Path):
    lock = path.with_suffix(".lock")
    lock.touch()
    with lock.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        # As a look does that gets no turn on a busy machine.
        ended = threading.Timer(0.5, lambda: fcntl.flock(looking, fcntl.LOCK_UN))
        ended.start()
        with Ledger.open(path) as ledger:
            await ledger.put_call(CALL)

            assert ledger.call("k1") == CALL
        ended.join()


def test_a_run_that_another_process_writes_to_is_refused_without_a_wait(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    waits: list[float] = []
    monkeypatch.setattr(opening.time, "sleep", waits.append)

    with Ledger.open(path), pytest.raises(RunError, match=f"in use by process {os.getpid()}"):
        Ledger.open(path)

    assert waits == []


async def test_a_call_is_on_disk_as_soon_as_the_put_returns(path: Path):
    with Ledger.open(path) as ledger:
        await ledger.put_call(CALL)

        with closing(sqlite3.connect(path)) as other:
            assert other.execute("SELECT key FROM calls").fetchall() == [("k1",)]


async def test_puts_of_the_same_moment_share_few_commits(path: Path):
    with Ledger.open(path) as ledger:
        wal = path.with_name("ledger.sqlite-wal")
        before = commits_in(wal)

        await asyncio.gather(*(ledger.put_call(replace(CALL, key=f"k{n}")) for n in range(500)))

        assert commits_in(wal) - before <= 5


def test_what_was_asked_for_before_closing_is_written_though_nobody_waits(path: Path):
    async def ask_and_leave(ledger: Ledger) -> None:
        ledger.queue_rows([row("p1")])

    with Ledger.open(path) as ledger:
        asyncio.run(ask_and_leave(ledger))

    with Ledger.open(path, read_only=True) as ledger:
        assert list(ledger.rows()) == [row("p1")]


async def test_rows_stream_in_the_order_of_their_keys(path: Path):
    first, second = row("p1", "revision", round=1), row("p1", "revision", round=2)
    later = row("p0", "revision", iteration=1)
    with Ledger.open(path) as ledger:
        await ledger.put_rows([later, row("p2"), second, first])

        assert list(ledger.rows()) == [row("p2"), first, second, later]


@pytest.mark.parametrize(
    ("stage", "status", "expected"),
    [
        ("response", None, ["p1", "p2"]),
        (None, "ok", ["p1", "p3"]),
        ("response", "refused", ["p2"]),
        ("revision", "refused", []),
    ],
)
async def test_rows_can_be_asked_for_by_stage_and_status(path, stage, status, expected):
    with Ledger.open(path) as ledger:
        rows = [row("p1"), row("p2", status="refused"), row("p3", "revision")]
        await ledger.put_rows(rows)

        assert [found.key.prompt_id for found in ledger.rows(stage, status)] == expected


async def test_rows_are_counted_by_stage_and_status(path: Path):
    with Ledger.open(path) as ledger:
        await ledger.put_rows([row("p1"), row("p2"), row("p3", status="refused")])

        assert ledger.counts() == {("response", "ok"): 2, ("response", "refused"): 1}


async def test_a_row_put_again_takes_the_place_of_the_old_one(path: Path):
    with Ledger.open(path) as ledger:
        await ledger.put_rows([row("p1", status="refused")])
        await ledger.put_rows([row("p1")])

        assert list(ledger.rows()) == [row("p1")]


async def test_a_row_made_twice_in_one_sweep_is_refused_and_its_first_end_kept(path: Path):
    with Ledger.open(path) as ledger:
        sweep = await ledger.begin_sweep()
        await ledger.put_rows([row("p1")], sweep)

        with pytest.raises(ValueError, match="made twice"):
            await ledger.put_rows([row("p1", status="refused")], sweep)

        assert list(ledger.rows()) == [row("p1")]


async def test_a_row_made_twice_spoils_no_other_write_of_its_commit(path: Path):
    with Ledger.open(path) as ledger:
        sweep = await ledger.begin_sweep()
        puts = [ledger.put_rows([row(name)], sweep) for name in ("p1", "p1", "p2")]
        ends = await asyncio.gather(*puts, ledger.put_call(CALL), return_exceptions=True)

        assert [type(end) for end in ends] == [type(None), ValueError, type(None), type(None)]
        assert list(ledger.rows()) == [row("p1"), row("p2")]


async def test_pruning_removes_what_the_sweep_has_not_made_of_its_stages_and_iterations(path: Path):
    with Ledger.open(path) as ledger:
        await ledger.put_rows([row("old"), row("kept", "revision"), row("kept", iteration=1)])
        await ledger.put_call(CALL)
        sweep = await ledger.begin_sweep()
        await ledger.put_rows([row("new")], sweep)

        removed = await ledger.prune(["response"], sweep, iteration=0)

        assert removed == 1
        assert [found.key.prompt_id for found in ledger.rows()] == ["new", "kept", "kept"]
        assert ledger.call("k1") == CALL


async def test_a_sweep_that_made_nothing_leaves_nothing_of_its_stages(path: Path):
    with Ledger.open(path) as ledger:
        await ledger.put_rows([row("old"), row("kept", "revision")])

        await ledger.prune(["response"], await ledger.begin_sweep())

        assert list(ledger.rows()) == [row("kept", "revision")]


async def test_a_sweep_of_one_iteration_that_made_nothing_leaves_the_rows_of_others(path: Path):
    with Ledger.open(path) as ledger:
        await ledger.put_rows([row("first"), row("second", iteration=1)])

        await ledger.prune(["response"], await ledger.begin_sweep(), iteration=1)

        assert list(ledger.rows()) == [row("first")]


async def test_sweeps_are_numbered_on_after_reopening(path: Path):
    with Ledger.open(path) as ledger:
        first = await ledger.begin_sweep()
    with Ledger.open(path) as ledger:
        assert await ledger.begin_sweep() == first + 1


async def test_calls_of_other_runs_are_found_elsewhere(tmp_path: Path, path: Path):
    with Ledger.open(tmp_path / "other.sqlite") as other:
        await other.put_call(CALL)

    with Ledger.open(path, reuse=[tmp_path / "other.sqlite"]) as ledger:
        assert ledger.call("k1") is None
        assert ledger.call_elsewhere("k1") == CALL
        assert ledger.call_elsewhere("k2") is None


async def test_a_reader_sees_rows_while_the_writer_is_at_work(path: Path):
    with Ledger.open(path) as writer, Ledger.open(path, read_only=True) as reader:
        await writer.put_rows([row("p1")])

        assert list(reader.rows()) == [row("p1")]


async def test_a_ledger_opened_for_reading_takes_no_writes(path: Path):
    Ledger.open(path).close()

    with Ledger.open(path, read_only=True) as ledger, pytest.raises(RunError, match="reading only"):
        await ledger.put_call(CALL)
