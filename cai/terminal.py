"""What is said at a terminal, in which texts of models, users and providers move no cursor."""

from __future__ import annotations

import re

import typer

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that a terminal obeys, and those that turn the order of letters; but for line ends and
tabs."""


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
