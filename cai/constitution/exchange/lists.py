"""Read plain lists of rules, and tables with a column of them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from cai.constitution.exchange.findings import Findings
from cai.errors import Fault, InputError

RULE_TEXTS = {
    "critique": "Say whether the last reply breaks this rule, and where: {statement}",
    "revision": "Rewrite the last reply so that it keeps this rule: {statement}",
    "comparison": "Which reply keeps this rule better? {statement}",
    "classify": "Does the reply keep this rule? {statement}",
}
"""Texts for principles that have a statement alone."""

_BULLET = re.compile(r"^[ \t]*(?:[-*•]|\d+[.)])[ \t]+(?=\S)")


def read_list(lines: Iterable[str], field: str) -> Findings:
    """One rule a line; the signs of a list are no part of it if every line has one.

    Args:
        lines: as they stand in the file, without their ends.
        field: the key of a principle that takes them: "statement", or a text for a stage.
    """
    given = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    bulleted = len(given) > 1 and all(_BULLET.match(line) for _, line in given)
    found = Findings(defaults=_defaults(field))
    for number, line in given:
        text = _BULLET.sub("", line, count=1) if bulleted else line
        found.principles.append(
            {"id": f"{field}-{len(found.principles) + 1}", **_said(field, text)}
        )
        if text != text.strip():
            found.note("begins or ends with a blank, which is kept", line=number)
    return found


def read_table(
    path: Path, text: str, column: str | None, field: str, tag_columns: Sequence[str]
) -> Findings:
    """A CSV or TSV file with a column of rules; its other columns are tags, or reported.

    Raises:
        InputError: the file is empty, no column is named, or the file lacks one that is.
    """
    tabs = path.suffix.lower() == ".tsv"
    rows = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if tabs else ",", strict=True)
    try:
        header, *body = list(rows) or [[]]
    except csv.Error as error:
        fault = Fault(f"is no table: {error}; save it as CSV", line=rows.line_num)
        raise InputError(path, [fault]) from error
    if not header:
        fault = Fault("is empty; a table has a line with the names of its columns, and rows")
        raise InputError(path, [fault])
    names = ", ".join(header)
    if column is None:
        fault = Fault(f"has several columns; name the one with the rules: --column, of {names}")
        raise InputError(path, [fault])
    if lacking := [name for name in (column, *tag_columns) if name not in header]:
        fault = Fault(f"has no column {lacking[0]!r}; choose from {names}")
        raise InputError(path, [fault])
    found = Findings(defaults=_defaults(field))
    for number, row in enumerate(body, start=2):
        cells = dict(zip(header, row, strict=False))
        text = cells.get(column, "")
        if not text.strip():
            found.note(f"has nothing under {column!r}; left out: {row}", f"row {number}")
            continue
        tags = [f"{name}={cells[name]}" for name in tag_columns if cells.get(name, "").strip()]
        entry = {"id": f"{field}-{len(found.principles) + 1}", **_said(field, text)}
        found.principles.append({**entry, **({"tags": tags} if tags else {})})
        if len(row) > len(header):
            found.unmapped(row[len(header) :], f"row {number}")
    others = [name for name in header if name not in (column, *tag_columns)]
    if others:
        found.note(f"has no place for the columns {', '.join(others)}; --tag-column keeps one")
    return found


def _said(field: str, text: str) -> dict[str, str]:
    return {field: text}


def _defaults(field: str) -> dict[str, str]:
    return dict(RULE_TEXTS) if field == "statement" else {}
