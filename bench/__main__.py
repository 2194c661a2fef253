"""All contestants on all workloads, side by side: ``make bench``, or ``python -m bench``.

Every contestant runs in a fresh process against a fresh server. The contestants take turns, round
by round, so that a noisy moment of the machine hits all of them; of each figure the median of the
rounds is kept. The table and ``bench/results.json`` have the same figures, and
``bench/machine.json`` says on what machine and with what they were measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.contestants import CONTESTANTS
from bench.serving import ROOT, counters, running_server
from bench.table import table
from bench.workloads import COMPARED, SLOTS, WORKLOADS, Workload

RESULTS = Path(__file__).with_name("results.json")
MACHINE = Path(__file__).with_name("machine.json")

FIGURES = ("calls_per_s", "cpu_ms_per_call", "peak_mb")
PACKAGES = ("aiohttp", "openai", "httpx2", "langchain-openai", "langchain-core", "orjson")

SLOW = {"openai": 0.25, "langchain": 0.1}
"""Share of the rows that a slow contestant takes; its figures are per call."""

Results = Mapping[str, Mapping[str, Mapping[str, float]]]


def measure(
    rounds: int,
    workloads: Mapping[str, Workload],
    contestants: Sequence[str],
    server: Sequence[str] = (),
) -> tuple[Results, Mapping[str, Mapping[str, int]]]:
    """Figures by workload and contestant, medians of the rounds, and the rows each one took.

    Args:
        rounds: how often each contestant takes each workload.
        workloads: by name.
        contestants: names, in the order of their turns.
        server: further options of the fake server.

    Raises:
        RuntimeError: a contestant failed, made another number of calls than it should have, or
            got other replies than the others.
    """
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    rows: dict[str, dict[str, int]] = {}
    for number in range(1, rounds + 1):
        for name, workload in workloads.items():
            for contestant in contestants:
                part = _part(workload, contestant)
                sys.stderr.write(f"round {number} of {rounds}: {name}, {contestant}\n")
                figures = run(contestant, name, part, server)
                found.setdefault(name, {}).setdefault(contestant, []).append(figures)
                rows.setdefault(name, {})[contestant] = part.rows
    for name, by_contestant in found.items():
        replies = {one["digest"] for each in by_contestant.values() for one in each}
        if len(replies) != 1:
            raise RuntimeError(f"not all contestants got the same replies on {name}")
    return _medians(found), rows


def run(
    contestant: str, name: str, workload: Workload, server: Sequence[str] = ()
) -> dict[str, Any]:
    """The figures of one contestant in a process of its own, against a server of its own.

    Args:
        contestant: its name.
        name: of the workload.
        workload: latency, and the number of rows.
        server: further options of the fake server.

    Raises:
        RuntimeError: it failed, or made another number of calls than it should have.
    """
    options = (f"--latency={workload.latency}", f"--slots={SLOTS}", *server)
    with running_server(*options) as address:
        command = [sys.executable, "-m", "bench.contest", contestant, name]
        command += [f"--address={address}", f"--rows={workload.rows}"]
        # Beside this file, which is on a disk, as /tmp may not be.
        command += [f"--folder={Path(__file__).parent}"]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise RuntimeError(f"{contestant} failed on {name}:\n{ended.stderr}")
        counted = counters(address)
    made, wanted = counted["answers"], workload.rows * workload.calls
    if made != wanted or counted["repeats"]:
        raise RuntimeError(f"{contestant} made {made} calls on {name}, not {wanted} different ones")
    figures: dict[str, Any] = json.loads(ended.stdout)
    return figures | {"server_cpu_ms_per_call": counted["cpu_seconds"] / made * 1000}


def machine(rounds: int, rows: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """What the figures were measured on and with; nothing that names the machine."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
        "rounds": rounds,
        "rows": rows,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write both files."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=[*WORKLOADS])
    options.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=[*CONTESTANTS])
    options.add_argument("--dry", action="store_true", help="print the table, write no file")
    given = options.parse_args(arguments)
    workloads = {name: WORKLOADS[name] for name in given.workloads}
    results, rows = measure(given.rounds, workloads, given.contestants)
    sys.stdout.write(table(results, rows))
    if not given.dry:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        MACHINE.write_text(json.dumps(machine(given.rounds, rows), indent=2) + "\n", "utf-8")


def _medians(found: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> Results:
    return {
        name: {
            contestant: {
                figure: round(statistics.median(one[figure] for one in each), 4)
                for figure in FIGURES
            }
            for contestant, each in by_contestant.items()
        }
        for name, by_contestant in found.items()
    }


def _part(workload: Workload, contestant: str) -> Workload:
    share = SLOW.get(contestant, 1.0)
    least = min(workload.rows, COMPARED)
    return replace(workload, rows=max(least, round(workload.rows * share)))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
