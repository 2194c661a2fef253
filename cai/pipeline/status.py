"""How the runs of a folder stand, read from their files alone: dead runs can be looked at too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cai.engine import Ledger
from cai.pipeline.folder import RunFolder, existing_run

HEADLINES = (("helpful", "helpful-only"), ("sl_cai", "SL-CAI"), ("rl_cai", "RL-CAI"))


def run_lines(folder: Path) -> Iterator[str]:
    """One line for each run of a folder, with the harmful compliance of each stage."""
    runs = sorted(path.parent for path in folder.glob("*/ledger.sqlite"))
    if not runs:
        yield f"no runs in {folder}"
    for path in runs:
        metrics = RunFolder(path).read_metrics()
        yield f"{path}  {_headline(metrics) or 'not evaluated yet'}"


def status_lines(path: Path) -> Iterator[str]:
    """Rows by stage and status, calls, models and report of one run.

    Raises:
        RunError: the folder holds no run.
    """
    folder = existing_run(path)
    with Ledger.open(folder.ledger, read_only=True) as ledger:
        counts = ledger.counts()
        yield f"run: {path}"
        for (stage, status), number in sorted(counts.items()):
            yield f"rows: {stage} {status}: {number}"
        yield f"calls in the ledger: {ledger.call_count()}"
    for name in ("sl_cai", "pm", "rl_cai"):
        done = (folder.model(name) / "training.json").is_file()
        yield f"model {name}: {'trained' if done else 'not trained yet'}"
    headline = _headline(folder.read_metrics())
    yield f"harmful compliance: {headline}" if headline else "policies: not evaluated yet"
    if folder.report.is_file():
        yield f"report: {folder.report}"


def _headline(metrics: dict[str, Any]) -> str:
    stages = metrics.get("stages", {})
    parts: list[str] = []
    for name, title in HEADLINES:
        rate = stages.get(name, {}).get("harmful_compliance")
        if rate is not None:
            parts.append(f"{title} {rate['value']:.2f}")
    return ", ".join(parts)
