import json
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

from cai.datasets.parquet import folder_hash
from tests.processes import running


def calls_in(run: Path) -> int:
    if not (run / "ledger.sqlite").is_file():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{run}/ledger.sqlite?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT count(*) FROM calls").fetchone()[0]
    except sqlite3.OperationalError:  # the tables are not there yet
        return 0


def kill_after(calls: int, served, run: Path) -> None:
    with running(served.generate(run), stderr=subprocess.DEVNULL) as process:
        wait_for(calls, run, process)
        process.send_signal(signal.SIGKILL)


def wait_for(calls: int, run: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while calls_in(run) < calls:
        assert process.poll() is None, "the run ended before it could be disturbed"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_killed_run_goes_on_and_ends_with_the_data_of_a_calm_one(served, tmp_path):
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    before = served.answers()
    subprocess.run(served.generate(calm), check=True, capture_output=True)
    needed = served.answers() - before

    kill_after(20, served, killed)
    kill_after(120, served, killed)
    subprocess.run(served.generate(killed), check=True, capture_output=True)

    assert folder_hash(killed / "datasets") == folder_hash(calm / "datasets")
    assert calls_in(killed) == calls_in(calm) == needed
    # Only calls that a kill caught between the answer and the disk can be asked for twice.
    assert served.answers() - before <= 2 * needed + 2 * 8


def test_running_again_asks_nothing_and_says_so(served, tmp_path):
    run = tmp_path / "run"
    subprocess.run(served.generate(run), check=True, capture_output=True)
    asked = served.answers()

    subprocess.run(served.generate(run), check=True, capture_output=True)

    metrics = json.loads((run / "metrics.json").read_text())
    assert served.answers() == asked
    assert (metrics["calls"]["made"], metrics["calls"]["cached"]) == (0, calls_in(run))


def test_a_second_process_is_refused_until_the_first_is_gone_however_it_died(served, tmp_path):
    run = tmp_path / "run"
    again = served.generate(run)
    with running(again, stderr=subprocess.DEVNULL) as first:
        wait_for(5, run, first)
        first.send_signal(signal.SIGSTOP)  # so that it does not end before the second has asked
        second = subprocess.run(again, capture_output=True, text=True)
        first.kill()
    third = subprocess.run(again, capture_output=True, text=True)

    assert second.returncode == 1
    assert f"is in use by process {first.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    assert third.returncode == 0
