"""Ledgers are joined: the earliest answer of each call, every row once, in flat memory."""

import hashlib
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from cai.engine import Ledger, StoredCall, codec
from cai.engine.merge import Joined, merge_ledgers
from cai.errors import RunError
from cai.records import Row, RowKey, Usage

CALL = StoredCall("k1", "complete", "m", "{}", '{"text": "yes"}', Usage(3, 2), 0.5, 1000.0)
ROW = Row(RowKey("response", "p1"), "ok", "", {"text": "yes"}, ("k1",))


async def ledger_with(path: Path, *, calls: Sequence[StoredCall] = (), rows: Sequence[Row] = ()):
    with Ledger.open(path) as ledger:
        for call in calls:
            await ledger.put_call(call)
        await ledger.put_rows(rows, await ledger.begin_sweep())
    return path


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_of_two_answers_to_one_call_the_earlier_is_kept(tmp_path, order):
    late = replace(CALL, response='{"text": "no"}', created=2000.0)
    sources = [
        await ledger_with(tmp_path / "one.sqlite", calls=[CALL]),
        await ledger_with(tmp_path / "two.sqlite", calls=[late, replace(late, key="k2")]),
    ]

    joined = merge_ledgers(tmp_path / "new.sqlite", [sources[number] for number in order])

    assert joined == Joined(calls=2, rows=0)
    with Ledger.open(tmp_path / "new.sqlite") as ledger:
        assert ledger.call("k1") == CALL


async def test_a_row_that_two_runs_made_alike_is_one_row_and_can_be_made_again(tmp_path):
    one = await ledger_with(tmp_path / "one.sqlite", rows=[ROW])
    two = await ledger_with(tmp_path / "two.sqlite", rows=[ROW])

    joined = merge_ledgers(tmp_path / "new.sqlite", [one, two])

    assert joined == Joined(calls=0, rows=1)
    with Ledger.open(tmp_path / "new.sqlite") as ledger:
        await ledger.put_rows([ROW], await ledger.begin_sweep())
        assert list(ledger.rows()) == [ROW]


async def test_what_a_dead_merge_left_behind_is_thrown_away(tmp_path):
    one = await ledger_with(tmp_path / "one.sqlite", calls=[CALL])
    (tmp_path / "new.sqlite.new").write_bytes(b"half a ledger")

    assert merge_ledgers(tmp_path / "new.sqlite", [one]) == Joined(calls=1, rows=0)
    assert not (tmp_path / "new.sqlite.new").exists()


async def test_a_log_of_a_ledger_that_is_gone_spoils_no_merge(tmp_path):
    one = await ledger_with(tmp_path / "one.sqlite", calls=[CALL])
    (tmp_path / "new.sqlite-wal").write_bytes(b"of another ledger")

    with pytest.raises(RunError, match=r"new\.sqlite-wal is there already"):
        merge_ledgers(tmp_path / "new.sqlite", [one])


async def test_calls_of_another_key_version_are_joined_and_counted_once(tmp_path, monkeypatch):
    old = replace(CALL, request='{"version":1}')
    one = await ledger_with(tmp_path / "one.sqlite", calls=[old])
    two = await ledger_with(tmp_path / "two.sqlite", calls=[old, replace(old, key="k2")])
    monkeypatch.setattr(codec, "KEY_VERSION", 2)
    new = replace(CALL, key="k3", request='{"version":2}')
    three = await ledger_with(tmp_path / "three.sqlite", calls=[new])

    merge_ledgers(tmp_path / "new.sqlite", [one, two, three])

    with Ledger.open(tmp_path / "new.sqlite") as ledger:
        assert ledger.call_count() == 3
        assert ledger.calls_of_other_keys() == 2


async def test_a_damaged_run_is_named_and_nothing_is_left(tmp_path):
    one = await ledger_with(tmp_path / "one.sqlite", calls=[CALL])
    (tmp_path / "two.sqlite").write_text("no database at all, but long enough for one" * 20)

    with pytest.raises(RunError, match=r"two\.sqlite is no ledger, or is damaged"):
        merge_ledgers(tmp_path / "new.sqlite", [one, tmp_path / "two.sqlite"])

    assert not (tmp_path / "new.sqlite").exists()
    assert not (tmp_path / "new.sqlite.new").exists()


MERGE = """
import resource, sys
from pathlib import Path
from cai.engine.merge import merge_ledgers

folder = Path(sys.argv[1])
merge_ledgers(folder / "new.sqlite", sorted(folder.glob("run-*.sqlite")))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def fill(path: Path, name: str, count: int) -> None:
    """Write calls and rows of about 5 kB each pair, as fast as SQLite takes them."""
    Ledger.open(path).close()
    keys = [hashlib.sha256(f"{name} {number}".encode()).hexdigest()[:32] for number in range(count)]
    calls = ((key, "complete", "m", "x" * 3400, "{}", 1, 1, 0.0, 0.0) for key in keys)
    rows = (("response", 0, key, 0, 0, "ok", "", "y" * 900, "[]", 1) for key in keys)
    with closing(sqlite3.connect(path)) as ledger, ledger:
        ledger.executemany(f"INSERT INTO calls VALUES ({', '.join('?' * 9)})", calls)
        ledger.executemany(f"INSERT INTO rows VALUES ({', '.join('?' * 10)})", rows)


@pytest.mark.slow
def test_a_merge_takes_as_much_memory_for_five_times_the_calls(tmp_path):
    peaks = []
    for count in (10_000, 50_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        for name in ("run-1", "run-2"):
            fill(folder / f"{name}.sqlite", name, count)
        command = [sys.executable, "-c", MERGE, str(folder)]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True).stdout))

    assert peaks[1] <= 1.2 * peaks[0]
