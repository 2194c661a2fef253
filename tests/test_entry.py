"""How a process of `cai` or of a trainer ends, whatever stops it."""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch.distributed as distributed

from cai.entry import run_app
from cai.errors import CaiError

ROOT = Path(__file__).parents[1]
KEY = "planted-0123456789"
ALONE = """
import os, signal
from trainers.command import run_alone

def main() -> None:
    # What a shell starts in the background ignores it, and so would this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    {happens}

run_alone(main)
"""


@pytest.fixture(autouse=True)
def process_as_it_was() -> Iterator[None]:
    """What a command line sets for its whole process is set back."""
    kept = logging.getLogRecordFactory(), sys.excepthook, signal.getsignal(signal.SIGTERM)
    yield
    logging.setLogRecordFactory(kept[0])
    sys.excepthook = kept[1]
    signal.signal(signal.SIGTERM, kept[2])


def raises(error: BaseException):
    def app() -> None:
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (CaiError("no such file"), 1, "trainers: no such file\n"),
        (SystemExit(2), 2, ""),
        (SystemExit(130), 130, "trainers: stopped; the same command goes on from here\n"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            1,
            "trainers: [Errno 28] No space left on device; make room on the disk, and give the "
            "same command\n",
        ),
    ],
    ids=["user's error", "typer's error", "Ctrl-C", "full disk"],
)
def test_what_stops_a_command_is_told_in_words(
    error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        run_app(raises(error), "trainers")

    assert ended.value.code == code
    assert capsys.readouterr().err == told


def test_an_error_moves_no_cursor(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        run_app(raises(CaiError("a server said \x1b[2J\x9b1A\u202eok\n\tand more")), "cai")

    assert capsys.readouterr().err == "cai: a server said  [2J 1A ok\n\tand more\n"


def test_a_command_says_all_but_json_by_what_takes_control_characters_out():
    files = [*ROOT.glob("cai/cli/*.py"), *ROOT.glob("cai/*.py"), *ROOT.glob("trainers/*.py")]
    written = re.compile(
        r"typer\.echo\((?!orjson|told\.decode|json_schema|written\(|__version__|f\"\\rstep)"
    )

    found = [file.name for file in files if written.search(file.read_text(encoding="utf-8"))]

    assert found == ["terminal.py"]


def test_sigterm_is_told_as_ctrl_c_is(capsys: pytest.CaptureFixture[str]):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    with pytest.raises(SystemExit) as ended:
        run_app(lambda: os.kill(os.getpid(), signal.SIGTERM), "cai")

    assert ended.value.code == 143
    assert capsys.readouterr().err == "cai: stopped; the same command goes on from here\n"


@pytest.mark.parametrize("error", [SystemExit(0), CaiError("no"), ValueError("a bug")], ids=str)
def test_a_process_parts_from_the_others_however_it_ends(error: BaseException):
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)

    with pytest.raises((SystemExit, ValueError)):
        run_app(raises(error), "cai")

    assert not distributed.is_initialized()


@pytest.mark.parametrize(
    ("happens", "code", "told"),
    [
        (f"raise ValueError('header Bearer {KEY}')", 1, "header Bearer [key]"),
        ("os.kill(os.getpid(), signal.SIGTERM)", 143, "trainers: stopped"),
        ("os.kill(os.getpid(), signal.SIGINT)", 130, "trainers: stopped"),
    ],
    ids=["bug", "SIGTERM", "Ctrl-C"],
)
def test_a_trainers_own_command_ends_as_cai_does(happens: str, code: int, told: str):
    done = subprocess.run(
        [sys.executable, "-c", ALONE.format(happens=happens)],
        env={**os.environ, "SOME_API_KEY": KEY},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code
    assert told in done.stderr
    assert KEY not in done.stderr
