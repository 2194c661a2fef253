"""`cai constitution`: check and show constitutions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cai.errors import CaiError

if TYPE_CHECKING:
    from cai.constitution import Constitution, Loaded, Principle

app = typer.Typer(name="constitution", help="Check and show constitutions.", no_args_is_help=True)

File = Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped constitution.")]


@app.command()
def check(
    file: File,
    model: Annotated[str, typer.Option(help="Name words that this model never saw.")] = "",
) -> None:
    """Report every fault of a file, as `cai constitution check mine.yaml --model microworld`."""
    from cai.constitution import read_constitution
    from cai.constitution.check import warnings

    loaded = read_constitution(file)
    found = [str(warning) for warning in warnings(loaded)]
    found += _unseen(loaded, model) if model else []
    _print([f"{file}: warning: {warning}" for warning in found])
    constitution = loaded.constitution
    _print([f"{file}: {len(constitution.principles)} principles, hash {constitution.hash}"])


@app.command()
def show(
    file: File,
    principle: Annotated[str, typer.Option(help="Show the texts of the one with this id.")] = "",
) -> None:
    """Show the principles with all that is inherited, as `cai constitution show harmlessness`."""
    from cai.constitution import load_constitution

    constitution = load_constitution(file)
    if principle:
        _print(_texts(constitution.principle(principle)))
    else:
        _console().print(_table(constitution))


def _unseen(loaded: Loaded, model: str) -> list[str]:
    if model != "microworld":
        raise CaiError(f"the words of {model!r} are not known; only --model microworld has a list")
    from cai.constitution.check import unknown_words
    from cai.microworld import known_words

    return [
        f"{f'line {found.line}: ' if found.line else ''}{found.principle}.{found.field}: "
        f"has words that {model} never saw: {', '.join(found.words)}; use others"
        for found in unknown_words(loaded.constitution, known_words(), loaded.lines)
    ]


def _table(constitution: Constitution) -> Table:
    title = f"{constitution.title or constitution.id} ({constitution.hash})"
    table = Table("id", "stages", "weight", "tags", title=escape(title))
    for principle in constitution.principles:
        cells = principle.id, ", ".join(principle.stages), f"{principle.weight:g}"
        table.add_row(*cells, escape(", ".join(principle.tags)))
    return table


def _texts(principle: Principle) -> list[str]:
    texts = principle.model_dump(exclude={"id", "weight", "tags"}, exclude_none=True)
    return [f"{key}:\n  {text}" for key, text in texts.items()]


def _print(lines: list[str]) -> None:
    for line in lines:
        _console().print(escape(line), soft_wrap=True, highlight=False)


def _console() -> Console:
    """A console on the standard output of this moment, which a test may have replaced."""
    return Console()
