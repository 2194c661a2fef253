"""`cai runs`: which runs there are, and how one stands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Look at runs.", no_args_is_help=True)


@app.command("list")
def list_(
    folder: Annotated[Path, typer.Argument(help="Folder that holds runs.")] = Path("runs"),
) -> None:
    """List the runs of a folder with their headline figures.

    Example: cai runs list
    """
    from cai.pipeline.status import run_lines

    for line in run_lines(folder):
        typer.echo(line)


@app.command()
def status(run: Annotated[Path, typer.Argument(help="Run folder.")]) -> None:
    """Say how far a run is: its rows, calls and models, finished or not.

    Example: cai runs status runs/microworld
    """
    from cai.pipeline.status import status_lines

    for line in status_lines(run):
        typer.echo(line)
