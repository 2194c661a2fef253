"""Read the values of a prompt column from text, JSON, JSON lines, CSV and Parquet files."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any, AnyStr, cast

import orjson

from cai.errors import Fault, InputError
from cai.untyped import untyped

KINDS = (".txt", ".json", ".jsonl", ".csv", ".parquet")
"""Kinds of files that are read; the text kinds also gzipped."""

ROWS_PER_BATCH = 1000
"""Of Parquet, that are in memory at once."""

LONGEST_CELL = 10_000_000
"""Characters of a CSV cell. Without a limit, a quote that nothing closes takes the whole file."""

LONGEST_LINE = 50_000_000
"""Bytes of a line, or characters of one of CSV: a small gzip file may hold one without end."""

LARGEST_JSON = 200_000_000
"""Bytes that a gzipped JSON file, which is read as a whole, may have when unpacked."""

SURPLUS = "has more cells than the file has columns; put a text with a comma in quotes"

USUAL_COLUMNS = ("prompt", "messages", "chosen", "question", "instruction", "Behavior", "text")


def read_values(path: Path, column: str | None) -> Iterator[tuple[int, Any]]:
    """Stream (row number from 1, value of the prompt column) of a file.

    JSON files may nest lists and objects as they like: every text in them is a prompt, and an
    object's keys are taken as headings.

    Args:
        path: .txt, .json, .jsonl, .csv or .parquet, the text kinds also gzipped (.gz).
        column: which column holds the prompt; None takes the first usual name that is there.

    Raises:
        InputError: no such file, an unknown kind, a broken line, or no such column.
    """
    for number, row in read_rows(path):
        yield number, value_of(path, number, row, column)


def value_of(source: Path | str, number: int, row: Any, column: str | None) -> Any:
    """The prompt of one row: a column of it, or the row itself if it is no object.

    Raises:
        InputError: the row has no such column; names those that it has, if it has any.
    """
    if not isinstance(row, Mapping):
        if column:
            message = f"is no object, so it has no column {column!r}; leave the column out"
            raise InputError(source, [Fault(message, f"row {number}")])
        return row
    fields = cast("Mapping[str, Any]", row)
    name = column or next((name for name in USUAL_COLUMNS if name in fields), None)
    if name is None or name not in fields:
        wanted = f"has no column {column!r}" if column else "has none of the usual columns"
        message = f"{wanted}; set `column` to one of: {', '.join(fields)}"
        raise InputError(source, [Fault(message, f"row {number}")])
    return fields[name]


@dataclass(frozen=True)
class BrokenLine:
    """A line that is no row, and why.

    Args:
        reason: in the same words for all lines of its kind.
        detail: where in the line; it has no words of the line either.
    """

    reason: str
    detail: str = ""


def read_rows(path: Path, *, over_broken: bool = False) -> Iterator[tuple[int, Any]]:
    """Stream (row number from 1, row) of a file; a row is an object, a text or a list.

    Args:
        path: of one of `KINDS`.
        over_broken: whether lines of JSON and rows of CSV that cannot be read are given as
            `BrokenLine`.

    Raises:
        InputError: no such file, an unknown kind, a file that is damaged, or a broken line that is
            not to be given.
    """
    if not path.is_file():
        raise InputError(path, [Fault("is not a file; name one that exists")])
    kind = path.suffixes[-2] if path.suffix == ".gz" and len(path.suffixes) > 1 else path.suffix
    readers = {".txt": _lines, ".json": _json, ".jsonl": _json_lines, ".csv": _csv}
    if kind == ".parquet":
        yield from _parquet(path)
    elif kind in readers:
        try:
            with _open(path) as stream:
                for number, row in readers[kind](path, stream):
                    if isinstance(row, BrokenLine) and not over_broken:
                        raise InputError(path, [_fault(kind, number, row)])
                    yield number, row
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(path, [Fault(f"cannot be read: {error}")]) from error
    else:
        raise InputError(
            path, [Fault(f"is of kind {kind!r}; the kinds read are {', '.join(KINDS)}")]
        )


def _fault(kind: str, number: int, broken: BrokenLine) -> Fault:
    message = f"{broken.reason}: {broken.detail}" if broken.detail else broken.reason
    # A row of CSV may have several lines.
    return Fault(message, f"row {number}") if kind == ".csv" else Fault(message, "", number)


@contextmanager
def _open(path: Path) -> Generator[IO[bytes]]:
    """The bytes of a file, without a mark of their order before them."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        if stream.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            stream.seek(0)
        yield cast("IO[bytes]", stream)


def _short_lines(path: Path, stream: IO[AnyStr]) -> Iterator[AnyStr]:
    """The lines of a file, none of which is read if it would take the memory."""
    for number in count(1):
        line = stream.readline(LONGEST_LINE + 1)
        if len(line) > LONGEST_LINE:
            message = f"is longer than {LONGEST_LINE:,} characters; break it into lines"
            raise InputError(path, [Fault(message, "", number)])
        if not line:
            return
        yield line


def _lines(path: Path, stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(_short_lines(path, stream), 1):
        text = _decode(path, line, number).rstrip("\r\n")
        if text.strip():
            yield number, text


def _json_lines(path: Path, stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(_short_lines(path, stream), 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            row = BrokenLine("is not JSON", str(error))
        yield number, row


def _json(path: Path, stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
    packed = path.suffix == ".gz"
    content = stream.read(LARGEST_JSON + 1 if packed else -1)
    if packed and len(content) > LARGEST_JSON:
        message = f"has more than {LARGEST_JSON:,} bytes when unpacked; unpack it, and name that"
        raise InputError(path, [Fault(message)])
    try:
        tree = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InputError(path, [Fault(f"is not JSON: {error}", "", error.lineno)]) from error
    yield from enumerate(_leaves(tree), 1)


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, list):
        items = cast("list[Any]", tree)
        if items and all(isinstance(item, dict) and "role" in item for item in items):
            yield cast("list[Any]", tree)
            return
        for item in items:
            if isinstance(item, dict) and any(name in item for name in USUAL_COLUMNS):
                yield cast("dict[str, Any]", item)
            else:
                yield from _leaves(item)
    elif isinstance(tree, dict):
        for value in cast("dict[str, Any]", tree).values():
            yield from _leaves(value)
    else:
        yield tree


def _csv(path: Path, stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))
    try:
        with io.TextIOWrapper(stream, encoding="utf-8", newline="") as text:
            rows = csv.DictReader(_short_lines(path, text), strict=True)
            for number, row in enumerate(rows, 1):
                surplus = cast("dict[str | None, Any]", row).pop(None, ())
                yield number, BrokenLine(SURPLUS) if any(surplus) else row
    except UnicodeDecodeError as error:
        raise InputError(path, [Fault(f"is not UTF-8: {error}")]) from error
    except csv.Error as error:
        raise InputError(path, [Fault(f"is not a CSV file that can be read: {error}")]) from error


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    pyarrow, parquet = untyped("pyarrow"), untyped("pyarrow.parquet")
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_PER_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(
            path, [Fault(f"is not a Parquet file that can be read: {error}")]
        ) from error


def _decode(path: Path, line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(path, [Fault(f"is not UTF-8: {error}", "", number)]) from error
