"""Start the fake server as a process, and ask what it was asked."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def running_server(*options: str) -> Iterator[str]:
    """The address of a fresh server, such as ``http://127.0.0.1:40123``; it ends with the block.

    Args:
        options: as on its command line, such as ``"--latency=0.05"``.
    """
    command: Sequence[str] = (sys.executable, "-m", "bench.fake_server", *options)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            if not address:
                raise RuntimeError(f"the fake server ended with {process.wait()}: see above")
            yield address
        finally:
            process.terminate()


def counters(address: str) -> dict[str, Any]:
    """What a server was asked so far; see `bench.fake_server.Counters`."""
    with urlopen(f"{address}/counters", timeout=10) as answer:
        return json.load(answer)
