"""What must hold of rows before others get them: whose they are, no own folders or servers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cai.datasets.parquet import ROW_FILES, open_parquet
from cai.errors import RunError
from cai.movable import movable
from cai.pipeline.folder import RunFolder
from cai.sources.files import ROWS_PER_BATCH, read_rows

NAMING = ("model", "source", "prompt_source")
"""Columns that say where a row comes from."""

REFUSALS = "refusals"
"""The column of `cai.datasets.refusals`."""


def refuse_other_constitution(
    folder: RunFolder, run: Mapping[str, Any], data: Iterable[Path]
) -> None:
    """Refuse rows that were made under another constitution than the run's figures say.

    Args:
        folder: the run's.
        run: its identity, ``run`` of `metrics.json`.
        data: folders of data sets.

    Raises:
        RunError: there are some, as of a run that was begun under a changed constitution and not
            finished.
    """
    ours: str = run["constitution"]["hash"]
    for path in data:
        if others := _values(path, "constitution") - {ours}:
            raise RunError(
                f"{path} has rows made under the constitution {min(others)}, and the run goes by "
                f"{ours} now; make them anew with: cai run {folder.recipe} --run {folder.path}"
            )


def refuse_folders(data: Iterable[Path], again: str) -> None:
    """Refuse rows that name own folders or servers, as those of earlier versions do.

    Args:
        data: folders of data sets, of the run's or of an export.
        again: the command that writes them anew.

    Raises:
        RunError: there are some; says where.
    """
    for path in data:
        named = sorted(one for one in _names(path) if movable(one.value) != one.value)
        if named:
            raise RunError(
                f"{path} names a folder or server of this machine in the column "
                f"{named[0].column} ({named[0].value}); write it anew with: {again}"
            )


class _Name(NamedTuple):
    column: str
    value: str


def _names(path: Path) -> set[_Name]:
    """What the rows of a folder are said to come from, and who declined before."""
    found = set[_Name]()
    for file in sorted(one for one in path.rglob("*") if one.suffix in ROW_FILES):
        for row in _rows(file):
            found.update(_Name(column, row[column]) for column in NAMING if row.get(column))
            for refusal in row.get(REFUSALS) or ():
                found.update(_Name(REFUSALS, refusal[by]) for by in ("model", "answered_by"))
    return found


def _rows(file: Path) -> Iterator[Mapping[str, Any]]:
    if file.suffix != ".parquet":
        yield from (row for _, row in read_rows(file))
        return
    with open_parquet(file) as opened:
        columns = [name for name in (*NAMING, REFUSALS) if name in opened.schema_arrow.names]
        for batch in opened.iter_batches(ROWS_PER_BATCH, columns=columns):
            yield from batch.to_pylist()


def _values(path: Path, column: str) -> set[str]:
    """The different values of a column that are not empty."""
    found = set[str]()
    for file in sorted(path.rglob("*.parquet")):
        with open_parquet(file) as opened:
            if column in opened.schema_arrow.names:
                for batch in opened.iter_batches(columns=[column]):
                    found.update(batch.column(0).unique().to_pylist())
    return found - {None, ""}
