"""`cai run`: a whole recipe, or its beginning."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from cai.pipeline import Step

Recipe = Annotated[Path, typer.Argument(help="Recipe file, such as examples/microworld.yaml.")]
Run = Annotated[
    Path | None, typer.Option("--run", help="Run folder; runs/<recipe name> if not given.")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Replace a field: --set revisions.rounds=2")
]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Cut every prompt and pair set to this many.")
]
LogJson = Annotated[
    bool, typer.Option("--log-json", help="Events as JSON lines on standard error, no bars.")
]


def run(
    recipe: Recipe,
    run: Run = None,
    until: Annotated[
        Literal["revisions", "sft", "preferences", "pm", "rl", "evaluate"],
        typer.Option(help="The last step to do."),
    ] = "evaluate",
    limit: Limit = None,
    set_: Set = None,
    log_json: LogJson = False,
) -> None:
    """Take a recipe from its constitution to measured models.

    Example: cai run examples/microworld.yaml --until revisions --limit 200
    """
    from cai.pipeline import steps_until

    do_steps(steps_until(until), recipe, run, limit, set_, log_json=log_json)


def do_steps(
    steps: Sequence[Step],
    recipe: Path,
    run: Path | None,
    limit: int | None,
    overrides: list[str] | None,
    *,
    log_json: bool = False,
) -> None:
    """Do steps of a recipe, then print the tables and where the report is."""
    from cai.pipeline import RunFolder, run_recipe
    from cai.pipeline.reruns import read_reruns
    from cai.recipe import load_recipe
    from cai.report.table import print_table

    loaded = load_recipe(recipe, overrides or ()).limited(limit)
    folder = RunFolder(run or Path("runs") / loaded.name)
    command = shlex.join(["cai", *sys.argv[1:]])
    if kept := len(read_reruns(folder.reruns).rows):
        drop = f"`cai rows rerun {folder.path} --forget` drops them"
        typer.echo(f"{kept} rows keep the settings of a rerun; {drop}")
    events = sys.stderr.buffer if log_json else None
    metrics = run_recipe(loaded, folder, steps=steps, command=command, events=events)
    print_table(metrics)
    typer.echo(f"report: {folder.report}")
