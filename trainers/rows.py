"""Read rows to learn from: checked before any model loads, encoded, and counted.

They stand in Parquet or in JSON lines, as this program or another tool has written them.
"""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import orjson

from cai.datasets.parquet import ROW_FILES, file_hash
from cai.errors import Fault, InputError
from cai.records import Role, digest

if TYPE_CHECKING:
    from datasets import Dataset

ROWS_PER_BATCH = 1000
MOST_FAULTS = 10

Row = Mapping[str, Any]


class BadRow(ValueError):
    """A row cannot be learned from as it stands; the text says why."""


class Dropped(ValueError):
    """A row is left out, and counted by the text, which names a reason without numbers."""


@dataclass(frozen=True)
class EncodedRows:
    """Rows as a trainer reads them.

    Args:
        dataset: the encoded columns.
        dropped: rows left out, by reason.
        truncated: rows that were cut to the length limit; they are among the dataset's.
        files: what they were read from.
    """

    dataset: Dataset
    dropped: Mapping[str, int]
    truncated: int = 0
    files: Sequence[Path] = ()

    @property
    def name(self) -> str:
        """What the data is called: its file, or its folder and the one above, as ``sft/train``."""
        first = self.files[0]
        alone = len(self.files) == 1 and first.stem != "data"
        return first.name if alone else "/".join(first.absolute().parent.parts[-2:])

    @property
    def hash(self) -> str:
        """Hash of the files' bytes."""
        return digest([file_hash(file) for file in self.files])


def checked_turns(value: Any, column: str, last: Role) -> list[dict[str, str]]:
    """The turns of a conversation.

    Args:
        value: what the column holds.
        column: its name, for messages.
        last: whose turn must be the last one.

    Raises:
        BadRow: they are no turns, or the last one is someone else's.
    """
    if not isinstance(value, list) or not value or not all(_is_turn(turn) for turn in value):
        raise BadRow(
            f"{column} must be a list of turns with the texts role and content, and have one at "
            f"least; met {reprlib.repr(value)}"
        )
    if value[-1]["role"] != last:
        raise BadRow(f"{column} must end with a turn of the {last}, met {value[-1]['role']!r}")
    return value


def turns_of(value: Any, column: str, role: Role) -> list[dict[str, str]]:
    """As `checked_turns`; a plain text is the one turn of the `role`, as other tools write it.

    Raises:
        BadRow: it is neither a text nor turns, or the last turn is someone else's.
    """
    turns = [{"role": role, "content": value}] if isinstance(value, str) else value
    return checked_turns(turns, column, role)


def check_columns(folder: Path, columns: Sequence[str], *others: Sequence[str]) -> list[Path]:
    """The files of rows, each with the columns asked for.

    Args:
        folder: a folder with ``*.parquet`` or ``*.jsonl`` files, or one such file.
        columns: names that every file must have.
        *others: columns that will do in their place.

    Raises:
        InputError: there is no file, one is empty or not of its kind, or it lacks a column.
    """
    if not folder.exists():
        fault = Fault("is not there; name the rows with --data, or `cai generate` them first")
        raise InputError(folder, [fault])
    files = data_files(folder)
    if not files:
        fault = Fault("has no *.parquet and no *.jsonl file; name one, or the folder of one split")
        raise InputError(folder, [fault])
    for file in files:
        present = _columns(file)
        if not present:
            raise InputError(file, [Fault("is empty; write rows into it, or leave it out")])
        missing = [name for name in columns if name not in present]
        if missing and not any(set(other) <= set(present) for other in others):
            instead = "".join(f" (nor {' and '.join(map(repr, other))})" for other in others)
            raise InputError(
                file,
                [
                    Fault(f"has no column {name!r}{instead}; it has {', '.join(present)}", name)
                    for name in missing
                ],
            )
    return files


def data_files(folder: Path) -> list[Path]:
    """The files of rows in a folder, by name, or the one file named; empty if there is none."""
    if folder.is_file():
        return [folder]
    return sorted(path for path in folder.glob("*") if path.suffix in ROW_FILES)


def read_rows(files: Sequence[Path], columns: Sequence[str]) -> Iterator[Row]:
    """Rows of some files as they stand, with those of the columns that their file has."""
    for file in files:
        for _, rows in _batches(file, columns):
            yield from rows


def encode_rows(
    files: Sequence[Path],
    columns: Sequence[str],
    encode: Callable[[Row], Mapping[str, Any]],
) -> EncodedRows:
    """Encode every row of some files.

    Args:
        files: as `check_columns` gave them.
        columns: the columns that `encode` reads; a row lacks those that its file lacks.
        encode: a row as the trainer reads it; raises `Dropped` or `BadRow`. Under the key
            ``truncated`` it may say whether the row was cut.

    Raises:
        InputError: rows are bad (up to ten are named), or none is left to learn from.
    """
    import pyarrow
    from datasets import Dataset

    tables: list[pyarrow.Table] = []
    dropped: Counter[str] = Counter()
    truncated = 0
    for rows in encoded_batches(files, columns, encode, dropped):
        truncated += sum(row.pop("truncated", False) for row in rows)
        tables.append(pyarrow.Table.from_pylist(rows))
    if not tables:
        why = ", ".join(f"{reason}: {count}" for reason, count in dropped.items()) or "it is empty"
        raise InputError(files[0].parent, [Fault(f"has no row left to learn from ({why})")])
    return EncodedRows(Dataset(pyarrow.concat_tables(tables)), dict(dropped), truncated, files)


def _is_turn(turn: Any) -> bool:
    return (
        isinstance(turn, dict)
        and turn.get("role") in get_args(Role)
        and isinstance(turn.get("content"), str)
    )


def encoded_batches(
    files: Sequence[Path],
    columns: Sequence[str],
    encode: Callable[[Row], Mapping[str, Any]],
    dropped: Counter[str],
) -> Iterator[list[dict[str, Any]]]:
    """As `encode_rows`, part by part, so that not all rows are in memory.

    Args:
        files: as there; so too the other two.
        columns: that `encode` reads.
        encode: a row as the trainer reads it.
        dropped: gets the rows left out, by reason.

    Raises:
        InputError: rows are bad (up to ten are named).
    """
    for file in files:
        faults: list[Fault] = []
        for first, rows in _batches(file, columns):
            kept: list[dict[str, Any]] = []
            for number, row in enumerate(rows, start=first):
                try:
                    kept.append(dict(encode(row)))
                except Dropped as reason:
                    dropped[str(reason)] += 1
                except BadRow as error:
                    faults.append(Fault(str(error), field=f"row {number}"))
            if len(faults) >= MOST_FAULTS:
                break
            if kept:
                yield kept
        if faults:
            raise InputError(file, faults[:MOST_FAULTS])


def _columns(file: Path) -> list[str]:
    """Names of a file's columns; of JSON lines, those of the first row."""
    import pyarrow
    import pyarrow.parquet as parquet

    if file.suffix == ".jsonl":
        return list(next(_json_rows(file), {}))
    try:
        return parquet.read_schema(file).names
    except (pyarrow.ArrowException, OSError) as error:
        packed = isinstance(error, pyarrow.ArrowInvalid) and file.suffix != ".parquet"
        met = "is no Parquet file" if packed else f"is no Parquet file ({error})"
        fix = "name one, or JSON lines in a .jsonl file that is not packed"
        raise InputError(file, [Fault(f"{met}; {fix}")]) from error


def _batches(file: Path, columns: Sequence[str]) -> Iterator[tuple[int, Sequence[Row]]]:
    """Rows of a file with the number of the first one, counted from 1."""
    present = [name for name in columns if name in _columns(file)]
    lines = file.suffix == ".jsonl"
    first = 1
    for rows in _json_batches(file, columns, present) if lines else _tables(file, present):
        yield first, rows
        first += len(rows)


def _tables(file: Path, columns: Sequence[str]) -> Iterator[Sequence[Row]]:
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        with parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(ROWS_PER_BATCH, columns=list(columns)):
                yield batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(file, [Fault(f"is damaged: {error}")]) from error


def _json_batches(
    file: Path, columns: Sequence[str], present: Sequence[str]
) -> Iterator[Sequence[Row]]:
    """Rows with the columns of the first one, and what else is wanted where a row has it."""
    rows = (
        {name: row.get(name) for name in columns if name in present or name in row}
        for row in _json_rows(file)
    )
    while batch := list(islice(rows, ROWS_PER_BATCH)):
        yield batch


def _json_rows(file: Path) -> Iterator[Row]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise InputError(file, [Fault(f"is not JSON: {error}", line=number)]) from error
            if not isinstance(row, dict):
                shown = reprlib.repr(row)
                raise InputError(file, [Fault(f"is no JSON object: {shown}", line=number)])
            yield row
