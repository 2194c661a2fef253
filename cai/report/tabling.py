"""Tables for the terminal, all of one look."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def plain_table(title: str, columns: Iterable[str]) -> Table:
    """An empty table; all columns but the first are flush right."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), box=box.SIMPLE, title_justify="left", caption_justify="left")
    for index, column in enumerate(columns):
        table.add_column(escape(column), justify="right" if index else "left", no_wrap=index > 0)
    return table


def set_caption(table: Table, lines: Iterable[str]) -> None:
    """Put lines of text below a table, whatever they hold: none of it is taken for markup."""
    from rich.markup import escape

    table.caption = escape("\n".join(lines))


def add_row(table: Table, cells: Iterable[str]) -> None:
    """Add a row of texts, whatever they hold: none of it is taken for markup."""
    from rich.markup import escape

    table.add_row(*(escape(cell) for cell in cells))
