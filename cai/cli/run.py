"""`cai run`: a whole recipe, or its beginning."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cai.errors import CaiError

if TYPE_CHECKING:
    from cai.pipeline import Step
    from cai.pipeline.preview import Plan

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
InShard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Generate for slice I of N of the prompts, in a run folder of its own.",
    ),
]
Reuse = Annotated[
    list[Path] | None,
    typer.Option(help="A run whose calls count as bought; may be given several times."),
]
LogJson = Annotated[
    bool, typer.Option("--log-json", help="Events as JSON lines on standard error, no bars.")
]
MaxCost = Annotated[
    float | None,
    typer.Option(min=0, metavar="DOLLARS", help="Stop before this command's calls cost more."),
]
MaxCalls = Annotated[
    int | None, typer.Option(min=0, help="Stop before this command makes more calls.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what calls, tokens and dollars it takes; buy none.")
]
Sample = Annotated[
    int | None,
    typer.Option(min=1, help="With --dry-run: buy the calls of so many items of each stage."),
]


@dataclass(frozen=True)
class Order:
    """What a command was asked to work on, and how; see the options of their names.

    Args:
        recipe: its file.
        run: the run folder; None for that of the recipe's name.
        limit: cut of every prompt and pair set.
        overrides: as ``a.b=value``.
        shard: as I/N.
        reuse: runs whose calls count as bought.
        log_json: True for events in place of bars.
        max_cost: dollars that may be spent; None for any amount.
        max_calls: calls that may be made; None for any number.
    """

    recipe: Path
    run: Path | None
    limit: int | None
    overrides: Sequence[str] | None
    shard: str | None = None
    reuse: Sequence[Path] | None = None
    log_json: bool = False
    max_cost: float | None = None
    max_calls: int | None = None


def run(
    recipe: Recipe,
    run: Run = None,
    until: Annotated[
        Literal["revisions", "sft", "preferences", "dpo", "pm", "rl", "evaluate"],
        typer.Option(help="The last step to do."),
    ] = "evaluate",
    limit: Limit = None,
    set_: Set = None,
    shard: InShard = None,
    reuse: Reuse = None,
    log_json: LogJson = False,
    max_cost: MaxCost = None,
    max_calls: MaxCalls = None,
    dry_run: DryRun = False,
    sample: Sample = None,
) -> None:
    """Take a recipe from its constitution to measured models.

    Example: cai run examples/microworld.yaml --until revisions --limit 200
    """
    check_dry_run(dry_run, sample, limited=max_cost is not None or max_calls is not None)
    order = Order(recipe, run, limit, set_, shard, reuse, log_json, max_cost, max_calls)
    if dry_run:
        foretell(order, until, sample or 0)
    else:
        do_steps(order, until)


def check_dry_run(dry_run: bool, sample: int | None, *, limited: bool) -> None:
    """Refuse options that make no sense together.

    Args:
        dry_run: whether a forecast is asked for.
        sample: how much to buy for it.
        limited: whether a limit of calls or dollars is given.

    Raises:
        CaiError: a sample is for a forecast alone, a limit for a run alone.
    """
    if sample and not dry_run:
        raise CaiError("--sample says how much to buy for a forecast; add --dry-run")
    if dry_run and limited:
        raise CaiError(
            "--max-cost and --max-calls stop a run; with --dry-run, --sample says how much to buy"
        )


def do_steps(order: Order, until: Step, *, alone: bool = False) -> None:
    """Do the steps of a recipe up to one, then print the tables and where the report is.

    Args:
        order: what to work on.
        until: the last step.
        alone: whether to do no other step.
    """
    from cai.engine.budget import Budget
    from cai.pipeline import run_recipe
    from cai.report.table import print_table

    plan, steps = _planned(order, until)
    metrics = run_recipe(
        plan.recipe,
        plan.folder,
        steps=(until,) if alone else steps,
        command=shlex.join(["cai", *sys.argv[1:]]),
        shard=plan.shard,
        reuse=plan.reuse,
        events=sys.stderr.buffer if order.log_json else None,
        budget=Budget(order.max_cost, order.max_calls),
    )
    print_table(metrics)
    typer.echo(f"report: {plan.folder.report}")


def foretell(order: Order, until: Step, sample: int) -> None:
    """Print what a recipe would cost up to a step; a sample of over 0 items is bought for it."""
    from cai.cli.forecast_table import counting, print_forecast
    from cai.pipeline.forecast import forecast

    plan, steps = _planned(order, until)
    with counting(shown=not sample):
        told = forecast(plan._replace(sample=sample), steps)
    print_forecast(told, sampled=sample > 0)


def _planned(order: Order, until: Step) -> tuple[Plan, Sequence[Step]]:
    """What to do where; says so if rows keep settings of their own."""
    from cai.pipeline import RunFolder, existing_run, generation_steps, steps_until
    from cai.pipeline.preview import Plan
    from cai.pipeline.reruns import read_reruns
    from cai.recipe import load_recipe
    from cai.splits import read_shard

    recipe = load_recipe(order.recipe, order.overrides or ()).limited(order.limit)
    shard = read_shard(order.shard) if order.shard else None
    steps = steps_until(until, recipe.policies)
    steps = generation_steps(recipe, steps) if shard else steps
    name = f"{recipe.name}-shard-{shard.number}-of-{shard.count}" if shard else recipe.name
    folder = RunFolder(order.run or Path("runs") / name)
    if kept := len(read_reruns(folder.reruns).rows):
        drop = f"`cai rows rerun {folder.path} --forget` drops them"
        typer.echo(f"{kept} rows keep the settings of a rerun; {drop}")
    reused = [existing_run(other).ledger for other in order.reuse or ()]
    return Plan(recipe, folder, shard=shard, reuse=reused), steps
