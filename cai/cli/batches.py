"""`cai batches`: what providers answer in their own time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cai.terminal import say

app = typer.Typer(help="Look at and stop batches at providers.", no_args_is_help=True)

Run = Annotated[Path, typer.Argument(help="Run folder.")]


@app.command("list")
def list_(
    path: Annotated[Path, typer.Argument(help="Run folder, or a folder of runs.")] = Path("runs"),
    ask: Annotated[bool, typer.Option("--ask", help="Ask the providers how they stand.")] = False,
) -> None:
    """List the batches of runs as the run last saw them.

    Example: cai batches list runs/claude
    """
    from cai.pipeline.batch_commands import asked_now, batches_in
    from cai.pipeline.batch_tables import print_batches

    listed = [asked_now(found) if ask else found for found in batches_in(path)]
    for found in listed:
        print_batches(found)
    if not any(found.batches for found in listed):
        say(f"no batches in {path}")


@app.command()
def cancel(
    run: Run,
    batch: Annotated[
        str | None, typer.Argument(help="Number or id; all that are under way if not given.")
    ] = None,
) -> None:
    """Ask the provider to stop batches; answers that are there by then are paid for and kept.

    Example: cai batches cancel runs/claude msgbatch_01HkcTjaV5uDC8jWR4ZsDV8d
    """
    from cai.pipeline.batch_commands import cancel_batches

    cancelled = cancel_batches(run, batch)
    for one in cancelled:
        say(f"batch {one.id}: {one.words}, {one.done:,} of {one.requests:,} calls had ended")
    if not cancelled:
        say(f"{run} has no batch at a provider")


@app.command()
def forget(run: Run, batch: Annotated[str, typer.Argument(help="Number or id.")]) -> None:
    """Give up a batch whose answers cannot be had; its calls are asked again.

    Example: cai batches forget runs/claude 3
    """
    from cai.pipeline.batch_commands import forget_batch

    given_up = forget_batch(run, batch)
    say(
        f"batch {given_up.name} is given up: the next command asks its {given_up.requests:,} "
        "calls again, where the run needs them"
    )
