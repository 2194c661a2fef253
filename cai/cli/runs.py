"""`cai runs`: which runs there are, and how one stands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from cai.terminal import say

app = typer.Typer(help="Look at runs.", no_args_is_help=True)


@app.command("list")
def list_(
    folder: Annotated[Path, typer.Argument(help="Folder that holds runs.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """List the runs of a folder with their states and headline figures.

    Example: cai runs list
    """
    from cai.pipeline.status import read_runs
    from cai.pipeline.status_tables import print_runs

    runs = list(read_runs(folder))
    if as_json:
        found = [one.to_json() for one in runs]
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    elif runs:
        print_runs(runs)
    else:
        say(f"no runs in {folder}")


@app.command()
def merge(
    out: Annotated[Path, typer.Argument(help="New run folder.")],
    runs: Annotated[list[Path], typer.Argument(help="Runs of shards of one recipe.")],
) -> None:
    """Join the runs of shards into one run, which goes on without buying a call again.

    Example: cai runs merge runs/all runs/demo-shard-1-of-2 runs/demo-shard-2-of-2
    """
    from cai.pipeline.merging import merge_runs

    merged = merge_runs(out, runs)
    say(f"{out}: {merged.calls} calls and {merged.rows} rows of {len(runs)} runs")
    if merged.absent:
        absent = ", ".join(str(shard) for shard in merged.absent)
        say(f"not among them: shard {absent}; going on buys what they lack")
    say(f"go on with: cai run {out / 'recipe.yaml'} --run {out}")


@app.command()
def status(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Say how far a run is, whether it is under way, finished, stopped or dead.

    Example: cai runs status runs/microworld
    """
    from cai.pipeline.status import read_status
    from cai.pipeline.status_tables import print_status

    found = read_status(run)
    if as_json:
        typer.echo(orjson.dumps(found.to_json(), option=orjson.OPT_INDENT_2))
    else:
        print_status(found)
