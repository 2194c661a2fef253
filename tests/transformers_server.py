"""`transformers serve` in a process of its own."""

from __future__ import annotations

import sys
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

from tests.loopback import reserved_port
from tests.processes import running

STARTS_WITHIN = 240
"""Seconds in which the server must answer."""


@contextmanager
def transformers_server(model: Path, log: Path) -> Generator[str, None, None]:
    """The address of a server of a model's folder; it ends with the block.

    Args:
        model: what is served.
        log: a file for what the server says.
    """
    program = Path(sys.executable).with_name("transformers")
    with reserved_port() as held, log.open("w") as told:
        port = held.getsockname()[1]
        command = [program, "serve", model, "--host", "127.0.0.1", "--port", str(port)]
        with running(command, stdout=told, stderr=told) as process:
            address, until = f"http://127.0.0.1:{port}", time.monotonic() + STARTS_WITHIN
            while not _is_up(address):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.1)
            yield address


def _is_up(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as reply:
            return reply.status == 200
    except (URLError, TimeoutError, ConnectionError):
        return False
