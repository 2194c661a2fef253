"""`cai run`: a whole recipe, or its beginning."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

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


def run(
    recipe: Recipe,
    run: Run = None,
    until: Annotated[
        Literal["revisions", "sft", "preferences", "pm", "rl", "evaluate"],
        typer.Option(help="The last step to do."),
    ] = "evaluate",
    limit: Limit = None,
    set_: Set = None,
) -> None:
    """Take a recipe from its constitution to measured models.

    Example: cai run examples/microworld.yaml --until revisions --limit 200
    """
    run_until(until, recipe, run, limit, set_)


def run_until(
    until: Literal["revisions", "sft", "preferences", "pm", "rl", "evaluate"],
    recipe: Path,
    run: Path | None,
    limit: int | None,
    overrides: list[str] | None,
) -> None:
    """Run a recipe up to a step, then print its table and where the report is."""
    from cai.pipeline import RunFolder, run_recipe
    from cai.recipe import load_recipe
    from cai.report.table import print_table

    loaded = load_recipe(recipe, overrides or ()).limited(limit)
    folder = RunFolder(run or Path("runs") / loaded.name)
    command = shlex.join(["cai", *sys.argv[1:]])
    metrics = run_recipe(loaded, folder, until=until, command=command)
    print_table(metrics)
    typer.echo(f"report: {folder.report}")
