"""`cai run`: a whole recipe, or its beginning."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from cai.cli.options import DryRun, MaxCalls, MaxCost, Sample, check_dry_run, countable, taking
from cai.errors import CaiError
from cai.terminal import say

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
    int | None,
    typer.Option(min=1, callback=countable, help="Cut every prompt and pair set to this many."),
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

    recipe: Recipe
    run: Run = None
    limit: Limit = None
    overrides: Set = None
    shard: InShard = None
    reuse: Reuse = None
    log_json: LogJson = False
    max_cost: MaxCost = None
    max_calls: MaxCalls = None


@dataclass(frozen=True, kw_only=True)
class ForeseeableOrder(Order):
    """An order that can be carried out, or foretold.

    Args:
        dry_run: True to be told what would be bought, and to buy nothing.
        sample: items of each stage whose calls are bought to know more; None for none.
    """

    dry_run: DryRun = False
    sample: Sample = None

    def __post_init__(self) -> None:
        """Refuse options that make no sense together."""
        limited = self.max_cost is not None or self.max_calls is not None
        check_dry_run(self.dry_run, self.sample, limited=limited)


@dataclass(frozen=True, kw_only=True)
class RunOrder(ForeseeableOrder):
    """What `cai run` was asked for.

    Args:
        until: the last step to do.
    """

    until: Annotated[
        Literal["revisions", "distill", "sft", "preferences", "dpo", "pm", "rl", "evaluate"],
        typer.Option(help="The last step to do."),
    ] = "evaluate"


@taking(RunOrder)
def run(order: RunOrder) -> None:
    """Take a recipe from its constitution to measured models.

    Example: cai run examples/microworld.yaml --until revisions --limit 200
    """
    carry_out(order, order.until)


Goal: TypeAlias = "Step | Literal['pairs']"
"""The last of some steps; "pairs": preference data, with nothing that it can do without."""


def carry_out(order: ForeseeableOrder, until: Goal) -> None:
    """Do the steps of a recipe up to one, or say what they would cost."""
    if order.dry_run:
        foretell(order, until, order.sample or 0)
    else:
        do_steps(order, until)


def do_steps(order: Order, until: Goal) -> None:
    """Do the steps of a recipe up to one, then print the tables and where the report is."""
    from cai.document import read_document
    from cai.engine.budget import Budget
    from cai.pipeline import run_recipe
    from cai.pipeline.source_check import check_sources
    from cai.report.table import print_table

    plan, steps = planned(order, until)
    # The run asks for data sets on the hub by itself; here faults are told with their lines.
    check_sources(plan.recipe, steps, read_document(order.recipe), with_hub=False)
    metrics = run_recipe(
        plan.recipe,
        plan.folder,
        steps=steps,
        command=shlex.join(["cai", *sys.argv[1:]]),
        shard=plan.shard,
        reuse=plan.reuse,
        events=sys.stderr.buffer if order.log_json else None,
        budget=Budget(order.max_cost, order.max_calls),
    )
    print_table(metrics)
    say(f"report: {plan.folder.report}")


def foretell(order: Order, until: Goal, sample: int) -> None:
    """Print what a recipe would cost up to a step; a sample of over 0 items is bought for it."""
    from cai.cli.forecast_table import counting, print_forecast
    from cai.document import read_document
    from cai.pipeline.forecast import forecast
    from cai.pipeline.source_check import check_sources

    plan, steps = planned(order, until)
    check_sources(plan.recipe, steps, read_document(order.recipe), foretold=True)
    with counting(shown=not sample):
        told = forecast(plan._replace(sample=sample), steps)
    print_forecast(told, sampled=sample > 0)


def planned(order: Order, until: Goal) -> tuple[Plan, Sequence[Step]]:
    """What to do where; says so if rows keep settings of their own."""
    from cai.outputs import check_folder
    from cai.pipeline import (
        RunFolder,
        existing_run,
        generation_steps,
        steps_of,
        steps_of_pairs,
    )
    from cai.pipeline.preview import Plan
    from cai.pipeline.reruns import read_reruns
    from cai.recipe import load_recipe
    from cai.splits import read_shard

    recipe = load_recipe(order.recipe, order.overrides or ()).limited(order.limit)
    if until == "revisions" and not recipe.prompts.red_team:
        raise CaiError(
            f"prompts.red_team of the recipe {recipe.name} is empty, so there is nothing to "
            "revise; name prompts there, or take another step"
        )
    shard = read_shard(order.shard) if order.shard else None
    steps = steps_of_pairs(recipe.comparisons) if until == "pairs" else steps_of(recipe, until)
    steps = generation_steps(recipe, steps) if shard else steps
    name = f"{recipe.name}-shard-{shard.number}-of-{shard.count}" if shard else recipe.name
    folder = RunFolder(order.run or Path("runs") / name)
    if not folder.path.is_dir():
        check_folder(folder.path, "--run")
    if kept := len(read_reruns(folder.reruns).rows):
        drop = f"`cai rows rerun {folder.path} --forget` drops them"
        say(f"{kept} rows keep the settings of a rerun; {drop}")
    reused = [existing_run(other).ledger for other in order.reuse or ()]
    return Plan(recipe, folder, shard=shard, reuse=reused), steps
