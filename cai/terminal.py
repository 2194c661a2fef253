"""What is said at a terminal, in which texts of models, users and providers move no cursor."""

from __future__ import annotations

import re

import typer

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that a terminal obeys, that turn the order of letters, or that are none and cannot be
written; but for line ends and tabs."""


def say(text: str, *, error: bool = False, newline: bool = True) -> None:
    """Write a text to standard output, or to standard error.

    Args:
        text: of any origin.
        error: whether it goes to standard error.
        newline: whether the line ends behind it.
    """
    typer.echo(shown(text), err=error, nl=newline)


def shown(text: str) -> str:
    """The text with a blank for each character that a terminal would obey; lines stay lines."""
    return CONTROLS.sub(" ", text)


def printable(text: str) -> str:
    """The text on one line, for a cell or a line of progress, with blanks as of `shown`."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
