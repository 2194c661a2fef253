"""`cai export`: a run's data in the format of another program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cai.terminal import say

if TYPE_CHECKING:
    from cai.export.run_export import Exported


def export(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    format: Annotated[
        Literal[
            "trl", "axolotl", "open-instruct", "openrlhf", "llm-swarm", "argilla", "rewardbench"
        ],
        typer.Option(help="Whose rows to write; rewardbench: and the preference model."),
    ] = "trl",
    minimum_margin: Annotated[
        float,
        typer.Option(min=0, max=1, help="Leave out pairs with less P(chosen) - P(rejected)."),
    ] = 0,
    file_type: Annotated[
        Literal["jsonl", "parquet"], typer.Option(help="JSON lines or Parquet.")
    ] = "jsonl",
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; exports/FORMAT of the run by default.")
    ] = None,
) -> None:
    """Write a run's data as another program reads it: conversations, and pairs with a winner.

    Example: cai export runs/microworld --format trl --minimum-margin 0.2
    """
    from cai.export.run_export import export_run
    from cai.pipeline import existing_run

    folder = existing_run(run)
    place = out or folder.path / "exports" / format
    exported = export_run(
        folder.path, place, format, minimum_margin=minimum_margin, file_type=file_type
    )
    for line in _lines(exported):
        say(line)
    say(f"wrote {place}")


def _lines(exported: Exported) -> Iterator[str]:
    for name, splits in exported.rows.items():
        told = " and ".join(f"{count:,} {split}" for split, count in splits.items())
        yield f"{name}: {told} rows"
        sources = exported.sources.get(name, {})
        for source, counts in sources.items() if len(sources) > 1 else ():
            yield f"{sum(counts.values()):>7,}  of {source}"
    if "preferences" in exported.rows and not exported.left_out:
        yield "no pair left out"
    of = "rows" if exported.format == "llm-swarm" else "pairs"
    for reason, count in exported.left_out.items():
        yield f"{count:>7,}  {of} left out: {reason}"
    if exported.lacks:
        yield f"constitution, templates and recipe are not beside the rows: {exported.lacks}"
