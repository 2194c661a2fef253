"""What a ledger cannot do it refuses in words, and loses nothing by it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cai.engine import Ledger
from cai.errors import RunError

ROOT = Path(__file__).parent.parent

FILL_THE_DISK = """
import asyncio, resource, sys
from pathlib import Path
from cai.engine import Ledger, StoredCall
from cai.errors import RunError
from cai.records import Usage

async def main(path):
    with Ledger.open(path) as ledger:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        for n in range(1000):
            await ledger.put_call(
                StoredCall(f"k{n}", "complete", "m", "{}", "x" * 5000, Usage(), 0.0, 0.0))
            print(n, flush=True)

try:
    asyncio.run(main(Path(sys.argv[1])))
except RunError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def test_a_second_writer_is_refused_and_told_who_has_the_run(path: Path):
    with Ledger.open(path), pytest.raises(RunError, match=f"in use by process {os.getpid()}"):
        Ledger.open(path)


def test_a_run_can_be_written_again_once_its_writer_has_closed_it(path: Path):
    Ledger.open(path).close()

    Ledger.open(path).close()

    assert path.is_file()


def test_a_refused_second_writer_leaves_the_first_one_its_lock(path: Path):
    with Ledger.open(path):
        for _ in range(2):
            with pytest.raises(RunError, match="in use"):
                Ledger.open(path)


def test_a_refused_ledger_is_not_left_locked(path: Path):
    path.write_text("no database at all, but long enough to be taken for one" * 20)
    for _ in range(2):
        with pytest.raises(RunError, match="no ledger"):
            Ledger.open(path)


def test_reading_a_run_that_is_not_there_is_refused(path: Path):
    with pytest.raises(RunError, match="is not there"):
        Ledger.open(path, read_only=True)


def test_a_folder_that_cannot_be_written_is_refused():
    with pytest.raises(RunError, match="/proc/1 cannot be written"):
        Ledger.open(Path("/proc/1/ledger.sqlite"))


def test_a_full_disk_stops_the_run_and_every_call_kept_before_is_there(path: Path):
    command = [sys.executable, "-c", FILL_THE_DISK, str(path)]

    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert "make room" in ended.stderr
    kept = ended.stdout.split()
    assert len(kept) > 10
    with Ledger.open(path) as ledger:
        assert [n for n in kept if ledger.call(f"k{n}") is None] == []
