"""Write a run's report, or two runs side by side, as one self-contained HTML file."""

from __future__ import annotations

import os
from pathlib import Path

from cai.report.comparison import comparison_page
from cai.report.load import load_run
from cai.report.page import report_page


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write a run's report, and say where it is.

    Args:
        run: the run folder.
        out: the file to write; ``report.html`` in the run folder if None.

    Raises:
        RunError: it is no run folder.
        InputError: a file in it cannot be read.
    """
    return write_page(report_page(load_run(run)), out or run / "report.html")


def write_comparison(run_a: Path, run_b: Path, out: Path) -> Path:
    """Write two runs side by side, B against A, to a file, and say where it is.

    Raises:
        RunError: one of them is no run folder.
        InputError: a file in one of them cannot be read.
    """
    return write_page(comparison_page(load_run(run_a), load_run(run_b)), out)


def write_page(page: str, out: Path) -> Path:
    """Write a page whole or not at all: a reader never sees half of it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.{os.getpid()}")
    draft.write_text(page, encoding="utf-8")
    draft.replace(out)
    return out
