"""How the commands about constitutions print."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape

from cai.terminal import shown


def print_lines(lines: Iterable[str]) -> None:
    """Print lines as they are, to the standard output of this moment."""
    for line in lines:
        console().print(escape(shown(line)), soft_wrap=True, highlight=False)


def console() -> Console:
    """A console on the standard output of this moment, which a test may have replaced."""
    return Console(emoji=False)


def counted(number: int, what: str) -> str:
    """A number of things, in words: "1 case", "2 cases"."""
    return f"{number} {what}{'' if number == 1 else 's'}"
