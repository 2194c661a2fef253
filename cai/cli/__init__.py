"""The command line `cai`.

Each noun has a module with a typer sub-app; commands parse, call one library function and say
what was written.
"""

from __future__ import annotations

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
from cai.entry import run_app

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
    """Run a command."""
    run_app(app, "cai")
