"""How a process of `cai` or of a trainer begins and ends: errors as text, with no keys in them."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Any

from cai.errors import CaiError
from cai.redaction import keep_keys_out_of_logs
from cai.stopping import Terminated, heed_termination
from cai.terminal import say

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes of a process that Ctrl-C or SIGTERM has stopped, as shells have them."""

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def run_app(app: Callable[[], Any], name: str, *, heeds_termination: bool = True) -> None:
    """Run a command line and end the process; a `CaiError` is told as text, a bug keeps its trace.

    Args:
        app: the typer app.
        name: of the program, which its messages begin with.
        heeds_termination: False lets SIGTERM end the process at once, without a word.
    """
    # Read once, when torch loads: threads that spin while they wait cost others their cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_keys_out_of_logs()
    without_keys = sys.excepthook
    if heeds_termination:
        heed_termination()
    code: Any = 1
    try:
        code = _exit_code(app, name)
    finally:
        sys.excepthook = without_keys  # typer has put one of its own there
        leave_processes(failed=bool(code))
    sys.exit(code)


def _exit_code(app: Callable[[], Any], name: str) -> Any:
    stopped = f"{name}: stopped; the same command goes on from here"
    try:
        app()
    except CaiError as error:
        say(f"{name}: {error}", error=True)
        return 1
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer has made it of the KeyboardInterrupt
            say(stopped, error=True)
        return stop.code
    except Terminated:
        say(stopped, error=True)
        return TERMINATED
    except BrokenPipeError:
        # The reader of our output went away, as `| head` does; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        say(f"{name}: {error}; make room on the disk, and give the same command", error=True)
        return 1
    return 0


def leave_processes(*, failed: bool) -> None:
    """Part from the processes that a launcher has started with this one, if it has joined them.

    A process that ends without it may abort: a thread of the group still lets go of the last
    exchange's objects while Python is shutting down. The launcher then calls a finished training
    failed, and a message is followed by a crash.

    Args:
        failed: whether this process is in the middle of something that the others wait for.
    """
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return
    # NCCL's parting waits for the others; gloo's does not, and it is gloo that aborts.
    if not (failed and "nccl" in distributed.get_backend()):
        distributed.destroy_process_group()
