"""Whatever stops a run, the same command goes on: no finished call again, no row lost or doubled.

Real processes against a real server, whose answers depend on the request alone.
"""

import ctypes
import hashlib
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from contextlib import AbstractContextManager, closing
from pathlib import Path

import orjson
import pytest

from cai.datasets.parquet import folder_hash
from cai.engine import Ledger
from cai.records import Row
from tests.processes import running

KILLS = 54
LONGEST = 100
"""Answers that a run to be killed gets at most."""

KEY = "--set=models.default.api_key_env=WHO"


def start(
    command: list[str], who: str = "someone", output: int = subprocess.PIPE
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Begin a run in a process group of its own, with its own API key."""
    environment = {**os.environ, "WHO": who}
    return running(command, env=environment, stdout=output, stderr=output, text=True)


def finish(command: list[str], who: str = "someone") -> None:
    with start(command, who) as process:
        _, errors = process.communicate()
    assert process.returncode == 0, errors


@pytest.fixture(scope="module")
def calm(served, tmp_path_factory) -> Path:
    """A run that nothing disturbed."""
    run = tmp_path_factory.mktemp("calm") / "run"
    finish(served.generate(run))
    return run


def asked_by(served, who: str) -> Counter[str]:
    return Counter({request: times for key, request, times in served.asked() if key == who})


def bought_in(run: Path) -> set[str]:
    """What the server would have noted of the calls that are on disk."""
    if not (run / "ledger.sqlite").is_file():
        return set()
    with closing(sqlite3.connect(run / "ledger.sqlite")) as ledger:
        try:
            found = ledger.execute("SELECT kind, request FROM calls").fetchall()
        except sqlite3.OperationalError:  # killed before the tables were made
            return set()
    return {noted(kind, orjson.loads(request)) for kind, request in found}


def noted(kind: str, request: dict) -> str:
    of = [request["sampling"]["seed"], None] if kind == "complete" else [0, True]
    body = orjson.dumps([request["messages"], *of], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(body).hexdigest()


def rows_of(run: Path) -> list[Row]:
    with Ledger.open(run / "ledger.sqlite", read_only=True) as ledger:
        return list(ledger.rows())


def calls_of(run: Path) -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(run / "ledger.sqlite")) as ledger:
        return ledger.execute("SELECT key, request, response FROM calls ORDER BY key").fetchall()


def assert_same_data(run: Path, calm: Path) -> None:
    assert rows_of(run) == rows_of(calm)
    assert calls_of(run) == calls_of(calm)
    assert folder_hash(run / "datasets") == folder_hash(calm / "datasets")


def wait_until_asked(served, process: subprocess.Popen[str], who: str, requests: int) -> None:
    deadline = time.monotonic() + 60
    while asked_by(served, who).total() < requests:
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def outlasts(process: subprocess.Popen[str], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def kill_at_random(served, process: subprocess.Popen[str], draw: random.Random, left: int) -> bool:
    """Kill the process group after some of the answers that are left, or after some time.

    Gives False if the run was done before.
    """
    if left > LONGEST and draw.random() < 0.9:
        last = served.answers() + draw.randint(1, LONGEST)
        while served.answers() < last and outlasts(process, 0.001):
            pass
    else:
        outlasts(process, draw.uniform(0, 3))
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("served", [0.04], indirect=True)
def test_kills_at_any_moment_repeat_no_finished_call_and_change_no_byte(served, tmp_path):
    questions = "".join(f"How do I break window {number}?\n" for number in range(400))
    (tmp_path / "prompts.txt").write_text(questions)
    many = f"--set=prompts.red_team.0.file={tmp_path}/prompts.txt"
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    finish(served.generate(calm, many), "calm")
    draw, needed = random.Random(5), len(bought_in(calm))
    kills, in_the_middle, repeated = 0, 0, Counter()

    for number in range(2 * KILLS):
        finished = bought_in(killed)
        again = served.generate(killed, KEY, many)
        with start(again, f"run {number}", output=subprocess.DEVNULL) as process:
            kills += kill_at_random(served, process, draw, needed - len(finished))
        asked = asked_by(served, f"run {number}")
        in_the_middle += asked.total() > 0
        repeated.update({one: n for one, n in asked.items() if one in finished or n > 1})
        if kills == KILLS:
            break
    finish(served.generate(killed, KEY, many), "last")

    assert kills == KILLS
    assert in_the_middle >= KILLS / 2
    assert repeated == Counter()
    assert_same_data(killed, calm)


@pytest.mark.parametrize(("by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_told_to_stop_keeps_every_answer_it_asked_for(served, calm, tmp_path, by, code):
    stopped = tmp_path / "stopped"

    with start(served.generate(stopped, KEY), f"stopped by {by}") as process:
        wait_until_asked(served, process, f"stopped by {by}", 30)
        process.send_signal(by)
        _, errors = process.communicate()
    asked, kept = asked_by(served, f"stopped by {by}"), bought_in(stopped)
    finish(served.generate(stopped, KEY), f"after {by}")

    assert process.returncode == code
    assert errors.endswith("cai: stopped; the same command goes on from here\n")
    assert "Traceback" not in errors
    assert set(asked) == kept
    assert kept.isdisjoint(asked_by(served, f"after {by}"))
    assert_same_data(stopped, calm)


def test_sigterm_stops_a_run_that_was_started_deaf_to_ctrl_c(served, tmp_path):
    deaf = served.generate(tmp_path / "run", KEY)
    deaf[2] = deaf[2].replace("signal.default_int_handler", "signal.SIG_IGN")

    with start(deaf, "deaf") as process:
        wait_until_asked(served, process, "deaf", 30)
        process.terminate()
        _, errors = process.communicate()

    assert process.returncode == 143
    assert "cai: stopped" in errors
    assert set(asked_by(served, "deaf")) == bought_in(tmp_path / "run")


@pytest.mark.parametrize("room", [60_000, 500_000])
def test_a_full_disk_stops_the_run_and_room_on_it_lets_it_go_on(served, calm, tmp_path, room):
    full = tmp_path / "full"
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n"

    with start(served.generate(full, KEY, before=limit), "cramped") as process:
        _, errors = process.communicate()
    kept = bought_in(full)
    finish(served.generate(full, KEY), f"after {room}")

    assert process.returncode == 1
    assert re.search(r"^cai: .*make room", errors, re.MULTILINE)
    assert "Traceback" not in errors
    assert kept.isdisjoint(asked_by(served, f"after {room}"))
    assert_same_data(full, calm)


def give_up_writing_everywhere() -> None:
    """Have file modes hold for root too, in the program that this process is about to become."""
    drop_from_bounding_set, may_write_everywhere = 24, 1
    ctypes.CDLL(None).prctl(drop_from_bounding_set, may_write_everywhere, 0, 0, 0)


def test_a_folder_that_may_not_be_written_to_is_named_and_left_alone(served, calm, tmp_path):
    run, new = tmp_path / "folder/run", tmp_path / "folder/new"
    shutil.copytree(calm, run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for path in (run.parent, run, *run.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    commands = [served.generate(run), served.generate(new), served.cai("rows", "list", run)]

    ends = [
        subprocess.run(one, capture_output=True, text=True, preexec_fn=give_up_writing_everywhere)
        for one in commands
    ]

    assert [end.returncode for end in ends] == [1, 1, 0]
    assert f"cai: {run} cannot be written to: Permission denied" in ends[0].stderr
    assert f"cai: {new} cannot be written: {run.parent} is read-only for you" in ends[1].stderr
    assert {path: path.read_bytes() for path in before} == before


def first_bytes_lost(ledger: Path) -> None:
    content = ledger.read_bytes()
    ledger.write_bytes(b"\0" * 100 + content[100:])


def second_half_lost(ledger: Path) -> None:
    os.truncate(ledger, ledger.stat().st_size // 2)


def pages_lost(ledger: Path) -> None:
    content = bytearray(ledger.read_bytes())
    for at in range(4096, len(content), 3 * 4096):
        content[at : at + 4096] = random.Random(at).randbytes(4096)
    ledger.write_bytes(content[: ledger.stat().st_size])


@pytest.mark.parametrize("damage", [first_bytes_lost, second_half_lost, pages_lost])
def test_a_damaged_ledger_is_named_and_not_written_over(served, calm, tmp_path, damage):
    run = shutil.copytree(calm, tmp_path / "run")
    damage(run / "ledger.sqlite")
    damaged, data = (run / "ledger.sqlite").read_bytes(), folder_hash(run / "datasets")
    answers = served.answers()

    again = subprocess.run(served.generate(run), capture_output=True, text=True)

    assert again.returncode == 1
    assert re.search(r"^cai: .*damaged", again.stderr, re.MULTILINE)
    assert "Traceback" not in again.stderr
    assert served.answers() == answers
    assert (run / "ledger.sqlite").read_bytes() == damaged
    assert folder_hash(run / "datasets") == data


def test_an_answer_that_cannot_be_read_back_stops_the_run_and_stays(served, calm, tmp_path):
    run = shutil.copytree(calm, tmp_path / "run")
    with closing(sqlite3.connect(run / "ledger.sqlite")) as ledger, ledger:
        ledger.execute("UPDATE calls SET response = substr(response, 9)")
    damaged, answers = calls_of(run), served.answers()

    again = subprocess.run(served.generate(run), capture_output=True, text=True)

    assert again.returncode == 1
    assert re.search(r"^cai: the ledger is damaged: the answer of call", again.stderr, re.MULTILINE)
    assert served.answers() == answers
    assert calls_of(run) == damaged
