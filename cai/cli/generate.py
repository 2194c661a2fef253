"""`cai generate`: the data of a recipe, without what comes after."""

from __future__ import annotations

import typer

from cai.cli.run import (
    InShard,
    Limit,
    LogJson,
    MaxCalls,
    MaxCost,
    Order,
    Recipe,
    Reuse,
    Run,
    Set,
    do_steps,
)

app = typer.Typer(help="Generate data.", no_args_is_help=True)


@app.command()
def revisions(
    recipe: Recipe,
    run: Run = None,
    limit: Limit = None,
    set_: Set = None,
    shard: InShard = None,
    reuse: Reuse = None,
    log_json: LogJson = False,
    max_cost: MaxCost = None,
    max_calls: MaxCalls = None,
) -> None:
    """Write critique and revision data, as datasets/sft of the run.

    Example: cai generate revisions examples/microworld.yaml --limit 100
    """
    from cai.pipeline import steps_until

    order = Order(recipe, run, limit, set_, shard, reuse, log_json, max_cost, max_calls)
    do_steps(order, steps_until("revisions"))


@app.command()
def comparisons(
    recipe: Recipe,
    run: Run = None,
    limit: Limit = None,
    set_: Set = None,
    shard: InShard = None,
    reuse: Reuse = None,
    log_json: LogJson = False,
    max_cost: MaxCost = None,
    max_calls: MaxCalls = None,
) -> None:
    """Write preference labels, as datasets/preferences of the run.

    Example: cai generate comparisons examples/microworld.yaml --limit 100
    """
    from cai.pipeline import steps_until

    order = Order(recipe, run, limit, set_, shard, reuse, log_json, max_cost, max_calls)
    do_steps(order, steps_until("preferences"))
