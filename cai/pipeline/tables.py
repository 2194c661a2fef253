"""Tables for people: on a terminal, in a pipe or in a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDE = 1000
"""Columns of a page that is no terminal: nothing is broken or cut there."""


def page() -> Console:
    """Standard output, as wide as it is or as wide as need be."""
    from rich.console import Console

    console = Console(highlight=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, emoji=False, width=WIDE)


def table_of(columns: Sequence[str], *, words: int = 1) -> Table:
    """A table whose first columns hold words, which may be broken, and the others numbers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for index, column in enumerate(columns):
        number = index >= words
        table.add_column(column, justify="right" if number else "left", no_wrap=number)
    return table


def add_row(table: Table, cells: Iterable[str]) -> None:
    """Add a row of texts as they are."""
    from rich.text import Text

    table.add_row(*(Text(cell) for cell in cells))
