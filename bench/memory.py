"""Does memory stay flat? Many rows of three calls through the pipeline, on a model without delay.

    python -m bench.memory --rows 1000000

The prompts come from a file, go through respond, critique and revise with the shipped microworld
constitution, and end in the supervised data set. Each size runs in a fresh process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from bench.contest import cpu_seconds, peak_mb
from bench.fake_answers import ANSWER_WORDS, WORDS
from bench.serving import ROOT
from bench.workloads import IN_FLIGHT, prompt_of
from cai.engine import BoughtModel, Ledger, Progress
from cai.models import ModelSettings
from cai.models.base import LanguageModel
from cai.pipeline.folder import RunFolder
from cai.pipeline.revisions import generate_revisions
from cai.pipeline.studio import Studio
from cai.pipeline.training import write_sft_data
from cai.recipe import Recipe
from cai.records import Completion, Message, Sampling, Usage, Weighed

SMALL = 10_000
CALLS = 3
PARTS = 10


@dataclass
class InstantModel:
    """Answers at once, with words that depend on the request alone; notes when calls were made.

    Args:
        expected: number of calls that will be made.
    """

    expected: int
    identity: str = "instant"
    made: int = 0
    times: list[float] = field(default_factory=list[float])

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """About 60 tokens."""
        if self.made * PARTS >= len(self.times) * self.expected:
            self.times.append(time.perf_counter())
        self.made += 1
        hashed = blake2b(f"{sampling.seed}{messages[-1].content}".encode()).digest()
        words = " ".join(WORDS[byte] for byte in hashed[:ANSWER_WORDS])
        return Completion(words, "stop", Usage(100, ANSWER_WORDS), "instant")

    async def weigh(self, messages: Sequence[Message], options: Sequence[str]) -> Weighed:
        """Nothing is weighed here."""
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing to close."""

    def rates(self) -> list[float]:
        """Calls per second in each tenth of the run."""
        ends = [*self.times[1:], time.perf_counter()]
        part = self.expected / len(self.times)
        return [part / (end - began) for began, end in zip(self.times, ends, strict=True)]


class InstantStudio(Studio):
    """A studio in which one instant model plays every role."""

    instant: BoughtModel

    def model_of(self, settings: ModelSettings) -> LanguageModel:
        """The instant model, its answers bought through the ledger."""
        return self.instant


def run(rows: int, folder: Path) -> dict[str, Any]:
    """Take so many rows from file to data set; gives the figures.

    Args:
        rows: number of prompts.
        folder: an empty one, on a disk.
    """
    prompts = folder / "prompts.jsonl"
    with prompts.open("w", encoding="utf-8") as stream:
        stream.writelines(_lines(rows))
    recipe = Recipe.model_validate(
        {
            "name": "memory",
            "constitution": "microworld",
            "models": {"default": "microworld"},
            "prompts": {"red_team": [{"kind": "harmful", "file": prompts}]},
            "revisions": {"rounds": 1},
            "datasets": {"sft_share": 1.0},
            "engine": {"in_flight": IN_FLIGHT},
        }
    )
    run_folder = RunFolder(folder)
    model = InstantModel(rows * CALLS)
    with Ledger.open(run_folder.ledger) as ledger, Progress(run_folder.log) as progress:
        studio = InstantStudio(recipe, run_folder, ledger, progress)
        studio.instant = BoughtModel(model, ledger, tally=studio.tally)
        cpu, began = cpu_seconds(), time.perf_counter()
        asyncio.run(generate_revisions(studio))
        seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu
        rates, peak = model.rates(), peak_mb()
        began = time.perf_counter()
        write_sft_data(studio)
        export_seconds = time.perf_counter() - began
    return {
        "rows": rows,
        "calls": model.made,
        "calls_per_s": model.made / seconds,
        "cpu_ms_per_call": cpu / model.made * 1000,
        "calls_per_s_by_tenth": [round(rate) for rate in rates],
        "peak_mb": peak,
        "export_rows_per_s": rows / export_seconds,
        "peak_mb_with_export": peak_mb(),
        "ledger_bytes_per_call": run_folder.ledger.stat().st_size / model.made,
        "data_bytes_per_row": _size(run_folder.dataset("sft")) / rows,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run both sizes, or with ``--one`` a single one in this process; print the figures."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--folder", type=Path, default=Path(__file__).parent, help="on a disk")
    options.add_argument("--one", action="store_true", help="this size alone, in this process")
    given = options.parse_args(arguments)
    if given.one:
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            sys.stdout.write(json.dumps(run(given.rows, Path(folder))) + "\n")
        return
    small, large = (_in_own_process(rows, given.folder) for rows in (SMALL, given.rows))
    for figures in (small, large):
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    for name in ("peak_mb", "peak_mb_with_export"):
        ratio = large[name] / small[name]
        sys.stdout.write(f"{name}: {ratio:.2f} times that of {SMALL:,} rows (aim: at most 1.3)\n")


def _in_own_process(rows: int, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.memory", "--one", f"--rows={rows}"]
    command += [f"--folder={folder}"]
    ended = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
    )
    figures: dict[str, Any] = json.loads(ended.stdout)
    return figures


def _lines(rows: int) -> Iterator[str]:
    return (json.dumps({"prompt": prompt_of(row)}) + "\n" for row in range(rows))


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    main()
