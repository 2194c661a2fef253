"""Write exported rows as JSON lines, as Parquet or as one JSON list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import orjson

from cai.untyped import untyped

FileType = Literal["jsonl", "parquet"]

ROWS_PER_GROUP = 10_000

Rows = Iterable[Mapping[str, Any]]


def write_rows(rows: Rows, path: Path, file_type: FileType) -> int:
    """Write rows into a file, streamed; no file is made for none.

    Args:
        rows: of JSON data, all of the same columns.
        path: where to, without its suffix.
        file_type: also the suffix.

    Returns:
        The number of rows.
    """
    some = iter(rows)
    first = next(some, None)
    if first is None:
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    write = _write_json_lines if file_type == "jsonl" else _write_parquet
    return write(chain((first,), some), path.with_name(f"{path.name}.{file_type}"))


def write_json_list(rows: Rows, path: Path) -> int:
    """Write rows as one JSON list, streamed; no file is made for none.

    Returns:
        The number of rows.
    """
    some = iter(rows)
    first = next(some, None)
    if first is None:
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.write(b"[" + orjson.dumps(first))
        written = 1
        for row in some:
            stream.write(b",\n" + orjson.dumps(row))
            written += 1
        stream.write(b"]\n")
    return written


def _write_json_lines(rows: Rows, path: Path) -> int:
    written = 0
    with path.open("wb") as stream:
        for row in rows:
            stream.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
            written += 1
    return written


def _write_parquet(rows: Rows, path: Path) -> int:
    pyarrow, parquet = untyped("pyarrow"), untyped("pyarrow.parquet")
    some, written, writer = iter(rows), 0, None
    schema = None
    while group := list(islice(some, ROWS_PER_GROUP)):
        table = pyarrow.Table.from_pylist(group, schema)
        if writer is None:
            schema = table.schema
            writer = parquet.ParquetWriter(path, schema)
        writer.write_table(table)
        written += len(group)
    assert writer is not None, "there is a first row"
    writer.close()
    return written
