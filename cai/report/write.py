"""Write a run's report, or two runs side by side, and their figures and numbers as files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cai.errors import RunError
from cai.report.comparison import comparison_page
from cai.report.csv_tables import Table, compared, csv_text, tables_of
from cai.report.data import ReportData
from cai.report.drawing import Plate, png_file, svg_file
from cai.report.load import load_run
from cai.report.page import report_page
from cai.report.plates import plates_of
from cai.report.side_by_side import groups_of
from cai.whole import write_whole


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write a run's report as one self-contained HTML file, and say where it is.

    Args:
        run: the run folder.
        out: the file to write; ``report.html`` in the run folder if None.

    Raises:
        RunError: it is no run folder, or `out` cannot be written.
        InputError: a file in it cannot be read.
    """
    return write_page(report_page(load_run(run)), out or run / "report.html")


def write_comparison(run_a: Path, run_b: Path, out: Path) -> Path:
    """Write two runs side by side, B against A, to a file, and say where it is.

    Raises:
        RunError: one of them is no run folder, or `out` cannot be written.
        InputError: a file in one of them cannot be read.
    """
    return write_page(comparison_page(load_run(run_a), load_run(run_b)), out)


def write_figures(runs: Sequence[Path], folder: Path) -> list[Path]:
    """Write what the page shows as files: figures as SVG and PNG, numbers as CSV and JSON.

    Args:
        runs: one run folder, or two to be laid side by side.
        folder: where to; made if it is not there. Files of the same names are replaced.

    Returns:
        The files, in the order of their making.

    Raises:
        RunError: one of them is no run folder, or `folder` cannot be made or written to.
        InputError: a file in one of them cannot be read.
    """
    loaded = [load_run(run) for run in runs]
    _make(folder)
    contents = {**dict(_pictures(plates_of(loaded))), **dict(_numbers(runs, loaded))}
    return [_write(content, folder / name) for name, content in contents.items()]


def write_page(page: str, out: Path) -> Path:
    """Write a page whole or not at all: a reader never sees half of it.

    Raises:
        RunError: it cannot be written there.
    """
    _make(out.parent)
    return _write(page.encode(), out)


def _pictures(plates: Sequence[Plate]) -> Iterator[tuple[str, bytes]]:
    for plate in plates:
        yield f"{plate.name}.svg", svg_file(plate)
        yield f"{plate.name}.png", png_file(plate)


def _numbers(runs: Sequence[Path], loaded: Sequence[ReportData]) -> Iterator[tuple[str, bytes]]:
    """The metrics of each run and its tables; of two runs, with an A or a B before the names."""
    for letter, path, run in zip("AB", runs, loaded, strict=False):
        before = f"{letter}-" if len(runs) > 1 else ""
        metrics = path / "metrics.json"
        content: Any = {}
        if metrics.is_file():
            yield f"{before}metrics.json", metrics.read_bytes()
            content = json.loads(metrics.read_text(encoding="utf-8"))
        yield from _tables(tables_of(run, content), before)
    if len(loaded) > 1:
        yield from _tables({"compared": compared(groups_of(loaded[0], loaded[1]))})


def _tables(tables: dict[str, Table], before: str = "") -> Iterator[tuple[str, bytes]]:
    for name, table in tables.items():
        yield f"{before}{name}.csv", csv_text(table).encode()


_REFUSED = (FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
"""What the place to write to is to blame for; a disk without room is told of elsewhere."""


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except _REFUSED as error:
        raise RunError(
            f"{folder} cannot be made a folder ({error.strerror}); name another place"
        ) from error


def _write(content: bytes, out: Path) -> Path:
    if out.is_dir():
        raise RunError(f"{out} is a folder; name a file in it")
    try:
        write_whole(out, content)
    except _REFUSED as error:
        raise RunError(f"{out} cannot be written ({error.strerror}); name another place") from error
    return out
