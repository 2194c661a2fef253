"""`cai report`: the HTML report of a run, or of two side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cai.terminal import say


def report(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    run_b: Annotated[Path | None, typer.Argument(help="A second run, laid beside it.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to; by default report.html, or comparison.html, in the last run."),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(help="Also write figures (SVG, PNG) and numbers (CSV, JSON) to this folder."),
    ] = None,
) -> None:
    """Write the report of a run, as `cai report runs/microworld`; of two runs, side by side."""
    from cai.report import write_comparison, write_figures, write_report

    if run_b is None:
        written = write_report(run, out)
    else:
        written = write_comparison(run, run_b, out or run_b / "comparison.html")
    say(f"wrote {written}")
    if figures is not None:
        files = write_figures([run] if run_b is None else [run, run_b], figures)
        say(f"wrote {len(files)} files to {figures}")
