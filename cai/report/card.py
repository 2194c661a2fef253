"""The card of a data set, in the hub's format: what it holds, how it was made, what was left out.

It says nothing that changes from one run to the next of the same command: data of the same calls
have the same card.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cai.untyped import untyped

HOLDS = {
    "sft": "Conversations that end with a revised or a helpful reply (column `messages`), for "
    "supervised finetuning (Bai et al. 2022, §3).",
    "preferences": "Pairs of replies with the probability that `chosen` is the better one (column "
    "`p_chosen`), for a preference model (Bai et al. 2022, §4.1).",
}
"""What each data set of a run is for."""

HEAD = """---
pretty_name: {name} of the run {run}
tags: [constitutional-ai]
configs:
- config_name: default
  data_files:
{splits}
---
"""


def write_cards(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Write the card of every data set that a run has.

    Args:
        folder: the run's.
        metrics: its figures, with `run`, `rows`, `left_out` and `filtered`.
    """
    for name in HOLDS:
        path = folder / "datasets" / name
        if path.is_dir():
            text = "\n".join([*_lines(name, path, metrics), ""])
            (path / "README.md").write_text(text, encoding="utf-8")


def _lines(name: str, path: Path, metrics: Mapping[str, Any]) -> Iterator[str]:
    run: Mapping[str, Any] = metrics["run"]
    constitution: Mapping[str, Any] = run["constitution"]
    rows = _rows_by_split(path)
    # `datasets` refuses a split without rows.
    files = [f'  - {{split: {split}, path: "{split}/*.parquet"}}' for split in rows if rows[split]]
    yield HEAD.format(name=name, run=run["name"], splits="\n".join(files))
    yield HOLDS[name]
    yield ""
    title = f"{_plain(constitution['title'])}, " if constitution.get("title") else ""
    yield f"Made under the constitution `{constitution['id']}` ({title}{constitution['hash']}),"
    yield f"recipe {run['recipe_hash']}, seed {run['seed']}."
    yield from _table("Rows", "split", rows)
    yield from _table("How the run's rows ended", "stage and status", _joined(metrics["rows"]))
    yield from _table("Prompts left out, and why", "source and reason", metrics["left_out"])
    filtered = _joined(metrics["filtered"])
    yield from _table("Rows filtered, and why", "stage and reason", filtered)


def _joined(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Counts by stage and by what follows it; those of evaluations say nothing of the data."""
    return {
        f"{stage}: {what}": number
        for stage, by_what in counts.items()
        if not stage.startswith("evaluation_")
        for what, number in by_what.items()
    }


def _rows_by_split(path: Path) -> dict[str, int]:
    """Rows of each split, as its files say."""
    parquet = untyped("pyarrow.parquet")
    return {
        split.name: sum(parquet.read_metadata(file).num_rows for file in split.rglob("*.parquet"))
        for split in sorted(part for part in path.iterdir() if part.is_dir())
    }


def _table(title: str, head: str, counts: Mapping[str, int]) -> Iterator[str]:
    if not counts:
        return
    yield from ("", f"## {title}", "", f"| {head} | number |", "|---|---:|")
    yield from (f"| {_plain(what)} | {number:,} |" for what, number in sorted(counts.items()))


def _plain(text: str) -> str:
    """A text of a file or a model as one cell of Markdown, with nothing in it that is markup."""
    line = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in line)
