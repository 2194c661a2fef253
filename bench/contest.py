"""One contestant on one workload, in this fresh process; prints its figures as JSON.

python -m bench.contest cai W1_50ms --address http://127.0.0.1:40123 --rows 2000
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.contestants import CONTESTANTS, Job
from bench.workloads import WORKLOADS, digest_of

IMPORTS = {
    "cai": (
        "aiohttp",
        "cai.engine",
        "cai.models.openai_compatible",
        "ruamel.yaml",
        "rich.console",
    ),
    "aiohttp": ("aiohttp", "orjson"),
    "openai": ("openai", "openai.resources.chat"),
    "langchain": ("langchain_openai",),
}
"""Loaded before the clock starts: a run of hours does not notice them."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Do the work and print the figures."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("contestant", choices=CONTESTANTS)
    options.add_argument("workload", choices=WORKLOADS)
    options.add_argument("--address", required=True, help="of the fake server")
    options.add_argument("--rows", type=int, required=True)
    options.add_argument("--folder", type=Path, help="where the ledger goes; it must be on a disk")
    given = options.parse_args(arguments)
    for name in IMPORTS[given.contestant]:
        importlib.import_module(name)
    if given.contestant == "cai":
        # The table of servers is read once a process, and is loaded as modules are.
        importlib.import_module("cai.models.capabilities").server_at(given.address)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        calls = WORKLOADS[given.workload].calls
        job = Job(given.address, given.rows, calls, Path(folder))
        cpu, began = cpu_seconds(), time.perf_counter()
        last = asyncio.run(CONTESTANTS[given.contestant](job))
        seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu
    made = given.rows * calls
    figures = {
        "calls_per_s": made / seconds,
        "cpu_ms_per_call": cpu / made * 1000,
        "peak_mb": peak_mb(),
        "digest": digest_of(last),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def peak_mb() -> float:
    """Most memory that this process has held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def cpu_seconds() -> float:
    """Processor time that this process has used, all threads together."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
