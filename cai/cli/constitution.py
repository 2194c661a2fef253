"""`cai constitution`: write, check, show, compare, try and test constitutions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer
from rich.markup import escape
from rich.table import Table

from cai.cli import constitution_change, constitution_exchange, constitution_trial
from cai.cli.constitution_print import console, counted, print_lines
from cai.errors import CaiError

if TYPE_CHECKING:
    from cai.constitution import Loaded, Principle

app = typer.Typer(
    name="constitution",
    help="Write, check, compare, try and test constitutions.",
    no_args_is_help=True,
)

File = Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped constitution.")]


@app.command()
def check(
    file: File,
    model: Annotated[str, typer.Option(help="Name words that this model never saw.")] = "",
) -> None:
    """Report every fault of a file, and what it can hardly mean, with line and fix.

    Example: cai constitution check mine.yaml --model microworld
    """
    from cai.constitution import read_constitution
    from cai.constitution.case_files import read_cases
    from cai.constitution.check import warnings

    loaded = read_constitution(file)
    cases = read_cases(loaded).placed
    found = [str(warning) for warning in warnings(loaded)]
    found += _unseen(loaded, model) if model else []
    print_lines([f"{file}: warning: {warning}" for warning in found])
    constitution = loaded.constitution
    tested = f", {counted(len(cases), 'case')}" if cases else ""
    size = f"{counted(len(constitution.principles), 'principle')}{tested}"
    print_lines([f"{file}: {size}, hash {constitution.hash}"])


@app.command()
def show(
    file: File,
    principle: Annotated[str, typer.Option(help="Show every field of the one with this id.")] = "",
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="The whole, resolved, as a file of its own.")
    ] = False,
) -> None:
    """Show a constitution with all that it inherits, and where each field was written.

    Example: cai constitution show harmlessness --principle privacy
    """
    from cai.constitution import read_constitution
    from cai.constitution.writing import as_yaml as written
    from cai.constitution.writing import plain_data

    loaded = read_constitution(file)
    if principle:
        print_lines(_fields(loaded, loaded.constitution.principle(principle)))
    elif as_yaml:
        # A file of its own, letter by letter; YAML itself escapes what a terminal would obey.
        typer.echo(written(plain_data(loaded.constitution)), nl=False)
    else:
        console().print(_table(loaded))


@app.command()
def new(
    file: Annotated[Path, typer.Argument(help="The file to write, ending in .yaml.")],
    extends: Annotated[
        str, typer.Option(help="A file or shipped name to begin with, and to change.")
    ] = "",
) -> None:
    """Write a new constitution to go on from, and its schema beside it for your editor.

    Example: cai constitution new mine.yaml --extends harmlessness
    """
    from cai.constitution.json_schema import NAMES, write_beside
    from cai.constitution.starter import starter
    from cai.constitution.values import slug_of
    from cai.constitution.writing import write_new

    if file.suffix not in (".yaml", ".yml"):
        raise CaiError(f"{file} does not end in .yaml; name a file that does")
    parent = _parent(extends, file) if extends else ""
    write_new(file, starter(slug_of(file.stem) or "mine", str(file), parent))
    write_beside(file)
    print_lines([f"{file} written, and {NAMES['constitution']} beside it"])


@app.command()
def schema(
    cases: Annotated[bool, typer.Option(help="That of files of cases instead.")] = False,
) -> None:
    """Print the JSON Schema of constitutions, by which editors complete and check them.

    Example: cai constitution schema > constitution.schema.json
    """
    from cai.constitution.json_schema import json_schema

    kind: Literal["constitution", "cases"] = "cases" if cases else "constitution"
    typer.echo(json_schema(kind), nl=False)


app.command()(constitution_change.diff)
app.command()(constitution_trial.preview)
app.command()(constitution_trial.test)
app.command("import")(constitution_exchange.import_)
app.command()(constitution_exchange.export)


def _parent(name: str, file: Path) -> str:
    """A constitution as the file would name it: a file's path is relative to the folder of that."""
    from cai.constitution import find_constitution, read_constitution

    read_constitution(name)
    is_file = find_constitution(name) == Path(name)
    return os.path.relpath(name, file.parent) if is_file else name


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


def _table(loaded: Loaded) -> Table:
    constitution = loaded.constitution
    title = f"{constitution.title or constitution.id} ({constitution.hash})"
    table = Table("id", "stages", "weight", "tags", "from", title=escape(title))
    for principle in constitution.principles:
        cells = principle.id, ", ".join(principle.stages), f"{principle.weight:g}"
        tags, origin = escape(", ".join(principle.tags)), _origins(loaded, principle)
        table.add_row(*cells, tags, escape(origin))
    return table


def _origins(loaded: Loaded, principle: Principle) -> str:
    """The files that a principle's fields were written in, its own place first."""
    places = [_origin(loaded, principle.id, "")]
    for (id, key), origin in loaded.origins.items():
        if id == principle.id and key and not any(origin.path.name in place for place in places):
            places.append(f"{origin.path.name}{' (defaults)' if origin.filled_in else ''}")
    return ", ".join(places)


def _origin(loaded: Loaded, id: str, key: str) -> str:
    origin = loaded.origins.get((id, key))
    if origin is None:
        return ""
    how = " (defaults)" if origin.filled_in else ""
    return f"{origin.path.name}:{origin.line}{how}"


def _fields(loaded: Loaded, principle: Principle) -> list[str]:
    fields = principle.model_dump(mode="json", exclude={"id"}, exclude_defaults=True)
    lines: list[str] = []
    for key, value in fields.items():
        place = _origin(loaded, principle.id, key)
        lines.append(f"{key}:{f'  # {place}' if place else ''}\n  {_shown(value)}")
    return lines


def _shown(value: object) -> str:
    return (
        ", ".join(map(str, cast("list[object]", value))) if isinstance(value, list) else str(value)
    )
