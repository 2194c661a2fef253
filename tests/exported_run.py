"""A run whose data sets have every kind of row that an export has to say, and what is exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cai.datasets.parquet import SplitWriter
from cai.datasets.preferences import preference_features
from cai.datasets.sft import sft_features
from cai.export.run_export import export_run


def turns(*roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": f"{role} {place}"} for place, role in enumerate(roles)]


ASKED = {
    "one turn": turns("user"),
    "a system turn": turns("system", "user"),
    "several turns": turns("system", "user", "assistant", "user"),
}

CHOSEN = [{"role": "assistant", "content": "the better reply"}]
REJECTED = [{"role": "assistant", "content": "the worse reply"}]


def write_run(folder: Path) -> Path:
    """The folder, with a conversation and a pair of every kind."""
    (folder / "datasets").mkdir(parents=True)
    about = {"prompt_id": "id", "source": "ai", "principle": "kind", "model": "m"}
    pair = {**about, "chosen": CHOSEN, "rejected": REJECTED, "p_chosen": 0.9}
    SplitWriter(folder / "datasets/sft", sft_features()).write(
        ("train", {**about, "messages": [*asked, *CHOSEN], "origin": "revision"})
        for asked in ASKED.values()
    )
    SplitWriter(folder / "datasets/preferences", preference_features()).write(
        ("train", {**pair, "prompt": asked}) for asked in ASKED.values()
    )
    (folder / "ledger.sqlite").touch()
    return folder


def exported(run: Path, program: str, out: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows that a program is given, by data set."""
    export_run(run, out, program, minimum_margin=0, file_type="jsonl")
    return {
        path.parent.name: [json.loads(line) for line in path.read_text().splitlines()]
        for path in out.rglob("train.jsonl")
    }
