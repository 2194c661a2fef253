"""Rows in Parquet folders: written streamed, with the same bytes for the same rows, and read."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from cai.errors import Fault, InputError
from cai.untyped import untyped
from cai.whole import replace_folder

ROWS_PER_GROUP = 10_000
SPLITS = ("train", "test")
ROW_FILES = (".parquet", ".jsonl")
"""Kinds of files that trainers read rows from."""


class SplitWriter:
    """Writes each row to the Parquet file of its split.

    The files appear under their names only when all rows are written, so that a data set is whole
    if it is there.

    Args:
        folder: ``datasets/sft`` and the like; gets ``train/data.parquet`` and ``test/…``.
        features: the columns in their order, a `datasets.Features`.
    """

    def __init__(self, folder: Path, features: Any) -> None:
        """Open nothing yet; a split without rows still gets a file with its columns."""
        self._folder = folder
        self._schema = features.arrow_schema
        self.counts: dict[str, int] = dict.fromkeys(SPLITS, 0)

    def write(self, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Write (split, row) pairs, in their order.

        Raises:
            KeyError: a split is neither "train" nor "test".
            RunError: an earlier data set cannot be deleted.
        """
        pyarrow, parquet = untyped("pyarrow"), untyped("pyarrow.parquet")
        new = self._folder.with_name(self._folder.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        writers: dict[str, Any] = {}
        for split in SPLITS:
            (new / split).mkdir(parents=True)
            path = new / split / "data.parquet"
            writers[split] = parquet.ParquetWriter(path, self._schema)
        for group in _groups(iter(rows)):
            for split in SPLITS:
                part = [row for its_split, row in group if its_split == split]
                if part:
                    self.counts[split] += len(part)
                    writers[split].write_table(pyarrow.Table.from_pylist(part, self._schema))
        for writer in writers.values():
            writer.close()
        replace_folder(new, self._folder)


@contextmanager
def open_parquet(file: Path) -> Generator[Any]:
    """Open a file of rows, a `pyarrow.parquet.ParquetFile`.

    Args:
        file: that this program, or another, has written.

    Raises:
        InputError: it is no Parquet file, or it turns out to be damaged while it is read.
    """
    pyarrow, parquet = untyped("pyarrow"), untyped("pyarrow.parquet")
    try:
        with parquet.ParquetFile(file) as opened:
            yield opened
    except (pyarrow.ArrowException, OSError) as error:
        # Arrow's own words for a damaged page come as an OSError that has no number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        why = str(error).rstrip(".")
        fault = Fault(f"is no Parquet file that can be read: {why}; put a whole one in its place")
        raise InputError(file, [fault]) from error


def folder_hash(folder: Path) -> str:
    """Hash of the data in a folder: of each file of rows, in order of their names.

    Args:
        folder: with files of Parquet or JSON lines at any depth; or one file, whatever its name.
    """
    hashed = hashlib.sha256()
    found = (path for path in folder.rglob("*") if path.suffix in ROW_FILES)
    for path in [folder] if folder.is_file() else sorted(found):
        hashed.update(path.relative_to(folder).as_posix().encode())
        hashed.update(_digest(path))
    return hashed.hexdigest()[:32]


def file_hash(file: Path) -> str:
    """Hash of one file's bytes.

    Raises:
        InputError: there is no such file.
    """
    try:
        return _digest(file).hex()[:32]
    except OSError as error:
        raise InputError(file, [Fault(f"cannot be read: {error.strerror}")]) from error


def _digest(file: Path) -> bytes:
    """Read in pieces: data may be larger than memory."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _groups(
    rows: Iterator[tuple[str, Mapping[str, Any]]],
) -> Iterator[list[tuple[str, Mapping[str, Any]]]]:
    while group := list(islice(rows, ROWS_PER_GROUP)):
        yield group
