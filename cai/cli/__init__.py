"""The command line, and the one place where a `CaiError` becomes text.

Each noun has a module with a typer sub-app; commands parse, call one library function and say
what was written.
"""

from __future__ import annotations

import errno
import os
import sys

import typer

from cai import __version__
from cai.cli import (
    batches,
    constitution,
    doctor,
    evaluate,
    export,
    generate,
    models,
    push,
    report,
    rows,
    run,
    runs,
    serve,
    train,
)
from cai.errors import CaiError
from cai.redaction import keep_keys_out_of_logs
from cai.stopping import Terminated, heed_termination

STOPPED = "cai: stopped; the same command goes on from here"
INTERRUPTED, TERMINATED = 130, 143
"""Exit codes of a process that Ctrl-C or SIGTERM has stopped, as shells have them."""

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

app = typer.Typer(
    name="cai",
    help="Constitutional AI: from a constitution in YAML to data, trained models and a report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(run.run)
app.command()(serve.serve)
app.command()(report.report)
app.command()(export.export)
app.command()(push.push)
app.command()(doctor.doctor)
app.add_typer(constitution.app, name="constitution")
app.add_typer(generate.app, name="generate")
app.add_typer(train.app, name="train")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(rows.app, name="rows")
app.add_typer(runs.app, name="runs")
app.add_typer(batches.app, name="batches")
app.add_typer(models.app, name="models")


@app.callback(invoke_without_command=True)
def version(
    show: bool = typer.Option(False, "--version", help="Show the version and stop."),
) -> None:
    """Constitutional AI: from a constitution in YAML to data, trained models and a report."""
    if show:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run a command; a CaiError is shown as text, anything else is a bug and keeps its trace."""
    # Read once, when torch loads: threads that spin while they wait cost others their cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_keys_out_of_logs()
    heed_termination()
    try:
        app()
    except CaiError as error:
        typer.echo(f"cai: {error}", err=True)
        sys.exit(1)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer has made it of the KeyboardInterrupt
            typer.echo(STOPPED, err=True)
        raise
    except Terminated:
        typer.echo(STOPPED, err=True)
        sys.exit(TERMINATED)
    except BrokenPipeError:
        # The reader of our output went away, as `| head` does; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        typer.echo(f"cai: {error}; make room on the disk, and give the same command", err=True)
        sys.exit(1)
