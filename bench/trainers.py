"""Our SFT, preference model and RL beside plain TRL calls: ``python -m bench.trainers``.

Both sides learn from the same rows of uneven length, for one epoch, each in a process of its own,
in turns; of each figure the median of the rounds is kept. Seconds are the processor's, so that
other work on the machine counts little. Tokens are those of the texts, padding not counted. Memory
is the growth while training, beside the libraries and the model that were loaded before. Run it
with OMP_NUM_THREADS=1: threads that wait are counted too.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from bench.trainings import SIDES, WORKS, Side, make_models

RESULTS = Path(__file__).with_name("trainers.json")
COMMAND = "OMP_NUM_THREADS=1 python -m bench.trainers"
Figures = dict[str, float]


def measure(name: str, rounds: int, models: Path) -> dict[str, Any]:
    """Figures of one training: tokens a second, memory in MB, and ours as a ratio of TRL's.

    Args:
        name: of `WORKS`.
        rounds: how often each side takes its turn.
        models: the folder of `make_models`.
    """
    turns = [{side: _train(name, side, models) for side in SIDES} for _ in range(rounds)]
    speeds = {side: [one[side]["tokens"] / one[side]["seconds"] for one in turns] for side in SIDES}
    memory = {side: [one[side]["own_mb"] for one in turns] for side in SIDES}
    return {
        "rows": WORKS[name].rows,
        "tokens": turns[0]["ours"]["tokens"],
        **{f"{side}_tokens_per_s": statistics.median(speeds[side]) for side in SIDES},
        **{f"{side}_mb": statistics.median(memory[side]) for side in SIDES},
        "speed_ratio": statistics.median(_ratios(speeds)),
        "speed_ratios": _ratios(speeds),
        "memory_ratio": statistics.median(_ratios(memory)),
    }


def _ratios(figures: Mapping[Side, Sequence[float]]) -> list[float]:
    return [ours / trl for ours, trl in zip(figures["ours"], figures["trl"], strict=True)]


def _train(name: str, side: Side, models: Path) -> Figures:
    command = [sys.executable, "-m", "bench.trainings", name, side, str(models)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return orjson.loads(done.stdout.splitlines()[-1])


def _table(found: Mapping[str, Mapping[str, Any]]) -> str:
    heads = ("training", "tokens", "ours, tokens/CPU s", "TRL", "ours : TRL")
    heads = (*heads, "ours, MB", "TRL", "ours : TRL")
    lines = [heads, ("---", *["---:"] * (len(heads) - 1))]
    for name, one in found.items():
        speeds = (f"{one[f'{side}_tokens_per_s']:,.0f}" for side in SIDES)
        sizes = (f"{one[f'{side}_mb']:,.0f}" for side in SIDES)
        ratios = (f"{one[f'{what}_ratio']:.2f}" for what in ("speed", "memory"))
        speed, memory = ratios
        lines.append((name, f"{one['tokens']:,.0f}", *speeds, speed, *sizes, memory))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _measured(rounds: int) -> dict[str, Any]:
    """What figures were measured on and with; nothing that names the machine."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "rounds": rounds,
        "load": os.getloadavg()[1],
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {name: version(name) for name in ("torch", "transformers", "trl")},
    }


def main() -> None:
    """Measure, print the table and write ``bench/trainers.json``, each training as it is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side")
    parser.add_argument("--only", action="append", default=[], choices=WORKS, metavar="TRAINING")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    kept = orjson.loads(asked.out.read_bytes())["found"] if asked.out.is_file() else {}
    found: dict[str, dict[str, Any]] = {name: one for name, one in kept.items() if name in WORKS}
    with tempfile.TemporaryDirectory() as folder:
        make_models(Path(folder))
        for name in asked.only or WORKS:
            figures = measure(name, asked.rounds, Path(folder))
            found[name] = {**figures, "measured": _measured(asked.rounds)}
            in_order = {one: found[one] for one in WORKS if one in found}
            record = {"command": COMMAND, "found": in_order}
            asked.out.write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")
    sys.stdout.write(_table(found))


if __name__ == "__main__":
    main()
