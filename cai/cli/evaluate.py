"""`cai evaluate`: measure what a run has made."""

from __future__ import annotations

import typer

from cai.cli.run import Limit, Order, Recipe, Run, Set, do_steps

app = typer.Typer(help="Measure models.", no_args_is_help=True)


@app.command()
def policy(recipe: Recipe, run: Run = None, limit: Limit = None, set_: Set = None) -> None:
    """Measure the policies that a run has so far on held-out prompts, and write the report.

    Example: cai evaluate policy examples/microworld.yaml
    """
    do_steps(Order(recipe, run, limit, set_), ("evaluate",))
