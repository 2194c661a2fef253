"""`cai run`: a whole recipe, or its beginning."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from cai.errors import CaiError

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


class Most(NamedTuple):
    """The most that a command may spend: dollars and calls; None for any."""

    cost: float | None = None
    calls: int | None = None


NO_LIMIT = Most()


def run(
    recipe: Recipe,
    run: Run = None,
    until: Annotated[
        Literal["revisions", "sft", "preferences", "pm", "rl", "evaluate"],
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
    from cai.pipeline import steps_until

    if sample and not dry_run:
        raise CaiError("--sample says how much to buy for a forecast; add --dry-run")
    if dry_run and (max_cost is not None or max_calls is not None):
        raise CaiError(
            "--max-cost and --max-calls stop a run; with --dry-run, --sample says how much to buy"
        )
    do_steps(
        steps_until(until),
        recipe,
        run,
        limit,
        set_,
        shard=shard,
        reuse=reuse or (),
        log_json=log_json,
        most=Most(max_cost, max_calls),
        sample=(sample or 0) if dry_run else None,
    )


def do_steps(
    steps: Sequence[Step],
    recipe: Path,
    run: Path | None,
    limit: int | None,
    overrides: list[str] | None,
    *,
    shard: str | None = None,
    reuse: Sequence[Path] = (),
    log_json: bool = False,
    most: Most = NO_LIMIT,
    sample: int | None = None,
) -> None:
    """Do steps of a recipe, then print the tables and where the report is.

    With a `sample`, 0 or more, only say what they would cost; it is bought for that.
    """
    from cai.cli.forecast_table import counting, print_forecast
    from cai.engine.budget import Budget
    from cai.pipeline import RunFolder, existing_run, generation_steps, run_recipe
    from cai.pipeline.forecast import forecast
    from cai.pipeline.preview import Plan
    from cai.pipeline.reruns import read_reruns
    from cai.recipe import load_recipe
    from cai.report.table import print_table
    from cai.splits import read_shard

    loaded = load_recipe(recipe, overrides or ()).limited(limit)
    part = read_shard(shard) if shard else None
    steps = generation_steps(loaded, steps) if part else steps
    name = f"{loaded.name}-shard-{part.number}-of-{part.count}" if part else loaded.name
    folder = RunFolder(run or Path("runs") / name)
    if kept := len(read_reruns(folder.reruns).rows):
        drop = f"`cai rows rerun {folder.path} --forget` drops them"
        typer.echo(f"{kept} rows keep the settings of a rerun; {drop}")
    reused = [existing_run(other).ledger for other in reuse]
    if sample is not None:
        plan = Plan(loaded, folder, sample, part, reused)
        with nullcontext() if sample else counting():
            told = forecast(plan, steps)
        print_forecast(told, sampled=sample > 0)
        return
    metrics = run_recipe(
        loaded,
        folder,
        steps=steps,
        command=shlex.join(["cai", *sys.argv[1:]]),
        shard=part,
        reuse=reused,
        events=sys.stderr.buffer if log_json else None,
        budget=Budget(most.cost, most.calls),
    )
    print_table(metrics)
    typer.echo(f"report: {folder.report}")
