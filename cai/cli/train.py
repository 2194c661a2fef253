"""`cai train`: one model of a recipe, with every step before it that is not done yet."""

from __future__ import annotations

import typer

from cai.cli.run import Limit, Order, Recipe, Run, Set, do_steps

app = typer.Typer(help="Train models.", no_args_is_help=True)


@app.command()
def sft(recipe: Recipe, run: Run = None, limit: Limit = None, set_: Set = None) -> None:
    """Train SL-CAI on revisions and helpful replies.

    Example: cai train sft examples/microworld.yaml
    """
    from cai.pipeline import steps_until

    do_steps(Order(recipe, run, limit, set_), steps_until("sft"))


@app.command()
def pm(recipe: Recipe, run: Run = None, limit: Limit = None, set_: Set = None) -> None:
    """Train the preference model on soft labels.

    Example: cai train pm examples/microworld.yaml
    """
    from cai.pipeline import steps_until

    do_steps(Order(recipe, run, limit, set_), steps_until("pm"))


@app.command()
def rl(recipe: Recipe, run: Run = None, limit: Limit = None, set_: Set = None) -> None:
    """Train RL-CAI against the preference model.

    Example: cai train rl examples/microworld.yaml
    """
    from cai.pipeline import steps_until

    do_steps(Order(recipe, run, limit, set_), steps_until("rl"))
