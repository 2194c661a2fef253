"""The page of all commands, from the typer app and the trainers' own commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any, Literal, get_args, get_origin

import typer

from cai.cli import app
from docs.reference.layout import NAMES, WRITTEN_BY, escaped, require_described, table

Command = Any
"""A command of typer's, whose classes are not public."""

TRAINERS = ("sft", "distill", "preference_model", "dpo", "rl", "adapters", "launch")
"""Modules of `trainers` that are commands of their own."""

INTRODUCTION = """# Commands

`--help` says the same in the terminal. What is *needed* has no default; `…` marks what may be given
several times.
"""


def command_page() -> str:
    """The page as Markdown.

    Raises:
        CaiError: a command, an argument or an option has no help.
    """
    return page_of([*commands_of("cai", typer.main.get_command(app)), *trainer_commands()])


def page_of(commands: Iterable[tuple[str, Command]]) -> str:
    """A page of commands, each with the words that call it.

    Raises:
        CaiError: a command, an argument or an option has no help.
    """
    found = list(commands)
    require_described([name for command in found for name in _undescribed(*command)])
    parts = [_section(name, command) for name, command in found]
    return "\n".join([WRITTEN_BY + INTRODUCTION, *parts])


def commands_of(name: str, command: Command) -> Iterator[tuple[str, Command]]:
    """Every command under one, each with all the words that call it.

    Args:
        name: what calls the first one.
        command: the first one.
    """
    under = getattr(command, "commands", None)
    if under is None:
        yield name, command
        return
    for word, one in under.items():
        yield from commands_of(f"{name} {word}", one)


def trainer_commands() -> Iterator[tuple[str, Command]]:
    """The trainers' own commands, as `commands_of` gives those of `cai`."""
    for name in TRAINERS:
        yield f"python -m trainers.{name}", module_command(f"trainers.{name}")


def module_command(module: str) -> Command:
    """The command of a module whose `main` is run by typer."""
    alone = typer.Typer(add_completion=False)
    alone.command()(import_module(module).main)
    return typer.main.get_command(alone)


def _undescribed(name: str, command: Command) -> Iterator[str]:
    if not command.help:
        yield name
    for one in _parameters(command):
        if not one.help:
            yield f"{name} {one.opts[0]}"


def _parameters(command: Command) -> list[Any]:
    shown = [one for one in command.params if "--help" not in one.opts]
    return sorted(shown, key=lambda one: not _is_argument(one))


def _section(name: str, command: Command) -> str:
    told = [part for text in command.help.split("\n\n") for part in _prose(text)]
    usage = " ".join([name, *(_usage(one) for one in _parameters(command) if _is_argument(one))])
    rows = [
        (_spelling(one), _kind(one), _default(one), escaped(one.help))
        for one in _parameters(command)
    ]
    options = table(["option", "value", "default", "meaning"], rows) if rows else ""
    return "\n".join([f"## {usage}\n", *(f"{part}\n" for part in told), options])


def _usage(argument: Any) -> str:
    several = "…" if argument.nargs == -1 else ""
    name = argument.name.upper()
    return (name if argument.required else f"[{name}]") + several


def _prose(text: str) -> Iterator[str]:
    """A paragraph of a help text; an example in it as code."""
    told, _, example = " ".join(text.replace("\b", "").split()).partition("Example: ")
    if told:
        yield escaped(told.strip())
    if example:
        yield f"    {example}"


def _is_argument(one: Any) -> bool:
    return not one.opts[0].startswith("-")


def _spelling(one: Any) -> str:
    names = [one.name.upper()] if _is_argument(one) else [*one.opts, *one.secondary_opts]
    several = " …" if one.multiple or one.nargs == -1 else ""
    return ", ".join(f"`{name}`" for name in names) + several


def _kind(one: Any) -> str:
    annotation = one.type_descriptor.annotation
    if get_origin(annotation) is list:
        (annotation,) = get_args(annotation)
    if getattr(one, "is_flag", False):
        return ""
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if one.metavar:
        return f"`{one.metavar}`"
    return NAMES[annotation] + _range(one)


def _range(one: Any) -> str:
    least, most = getattr(one, "min", None), getattr(one, "max", None)
    bounds = [f"≥ {least}" if least is not None else "", f"≤ {most}" if most is not None else ""]
    return "".join(f", {bound}" for bound in bounds if bound)


def _default(one: Any) -> str:
    if one.required:
        return "*needed*"
    if one.default in (None, False, "", (), []):
        return ""
    if isinstance(one.default, list | tuple):
        return ", ".join(f"`{value}`" for value in one.default)
    return f"`{one.default}`"
