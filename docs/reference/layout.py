"""What all reference pages share: titles, tables, and what must be described."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cai.errors import CaiError

WRITTEN_BY = "<!-- Written by `make docs` from the code; do not edit. -->\n"
"""The first line of every page."""


NAMES: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
}
"""Kinds of values, as people say them."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table.

    Args:
        head: titles of the columns.
        rows: texts of the cells; what Markdown would take for a mark of its own is escaped.
    """
    lines = [head, ["---"] * len(head), *([_cell(text) for text in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def slug(title: str) -> str:
    """The anchor of a title, as the site and code hosts make it."""
    kept = re.sub(r"[^\w\- ]", "", title.lower())
    return kept.strip().replace(" ", "-")


def paragraph(text: str) -> str:
    """The first paragraph of a docstring on one line, its code marked as Markdown marks it."""
    first = text.strip().split("\n\n")[0]
    return " ".join(first.split()).replace("``", "`")


def require_described(undescribed: Sequence[str]) -> None:
    """Refuse to write a page that leaves something unexplained.

    Raises:
        CaiError: with every name that has no description.
    """
    if undescribed:
        raise CaiError(
            f"without a description: {', '.join(undescribed)}; write one where each is declared"
        )


def escaped(text: str) -> str:
    """A text in which only code is marked up: `<x>` and `*` stand for themselves."""
    parts = " ".join(text.split()).replace("``", "`").split("`")
    parts[::2] = [re.sub(r"([*\\])", r"\\\1", one).replace("<", "&lt;") for one in parts[::2]]
    return "`".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
