"""Processes that end with the block that started them, also where a test fails in it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil


@contextmanager
def running(
    command: Sequence[str | Path], **options: Any
) -> Generator[subprocess.Popen[Any], None, None]:
    """A process in a group of its own; if it still runs at the end, it is killed with all its own.

    A block that wants its exit status waits for it.

    Args:
        command: the program and its arguments.
        options: as `subprocess.Popen` takes them.
    """
    with subprocess.Popen(command, start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            kill_all(process)


def kill_all(process: subprocess.Popen[Any]) -> None:
    """Kill a process with all that it has started, also what has a session of its own."""
    if process.poll() is not None:
        return
    leader = psutil.Process(process.pid)
    family = [leader, *leader.children(recursive=True)]
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while not all(is_gone(one) for one in family):
        assert time.monotonic() < deadline, "a process outlives its kill"
        time.sleep(0.01)


def is_gone(process: psutil.Process) -> bool:
    """Whether a process runs no more, though its parent may have yet to ask how it ended."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
