"""What must hold of rows before others get them: whose they are, no own folders or servers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cai.errors import RunError
from cai.movable import movable
from cai.pipeline.folder import RunFolder
from cai.untyped import untyped

NAMING = ("model", "source", "prompt_source")
"""Columns that say where a row comes from."""


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


def refuse_folders(folder: RunFolder, data: Iterable[Path]) -> None:
    """Refuse rows that name own folders or servers, as those of earlier versions do.

    Raises:
        RunError: there are some; says where.
    """
    for path in data:
        for column in NAMING:
            named = [one for one in _values(path, column) if movable(one) != one]
            if named:
                raise RunError(
                    f"{path} names a folder or server of this machine in the column {column} "
                    f"({min(named)}); write it anew with: "
                    f"cai run {folder.recipe} --run {folder.path}"
                )


def _values(path: Path, column: str) -> set[str]:
    """The different values of a column that are not empty."""
    parquet, found = untyped("pyarrow.parquet"), set[str]()
    for file in sorted(path.rglob("*.parquet")):
        with parquet.ParquetFile(file) as opened:
            if column in opened.schema_arrow.names:
                for batch in opened.iter_batches(columns=[column]):
                    found.update(batch.column(0).unique().to_pylist())
    return found - {None, ""}
