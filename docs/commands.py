"""Are the commands on the pages and in the recipes commands?

Their names, options and files are looked at, and none is run.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer
from typer.exceptions import TyperException

from cai.cli import app
from docs.files import Files
from docs.keys import is_key
from docs.pages import ROOT, Code, code_of, code_of_comments, commented, pages, where
from docs.reference.cli import module_command
from docs.shell import Command, commands_of

SECTIONS: Mapping[str, str] = {
    "trainers.sft": "sft",
    "trainers.distill": "distillation",
    "trainers.preference_model": "preference_model",
    "trainers.dpo": "dpo",
    "trainers.rl": "rl",
}
"""The part of a recipe that ``--set`` of a trainer is about."""


BY_TYPER = re.compile(r"\b(?:typer\.run|run_alone)\(main\b")
"""How a module that is a command says that typer reads its options; others have argparse."""


class Wrong(Exception):
    """What is wrong with a command."""


def wrong_commands(root: Path = ROOT) -> list[str]:
    """Every fault of every command on a checkout's pages and in its recipes, with its place."""
    found: list[str] = []
    files = Files(root)
    read = [(page, code_of) for page in pages(root)]
    read += [(file, code_of_comments) for file in commented(root)]
    for page, codes in read:
        files.turn_page()
        for code in codes(page):
            found += [f"{where(code, root)}: {fault}" for fault in _faults_in(code, files)]
    return found


def _faults_in(code: Code, files: Files) -> Iterator[str]:
    try:
        commands = list(commands_of(code))
    except ValueError as error:
        yield f"is no line for a shell: {error}"
        return
    for command in commands:
        yield from (f"`{command}`: {fault}" for fault in faults_of(command, files))


def faults_of(command: Command, files: Files) -> Iterator[str]:
    """What is wrong with a command; what it makes is there for later ones.

    Args:
        command: as a page shows it.
        files: what there is before it.
    """
    try:
        given = _given(command)
    except Wrong as wrong:
        yield str(wrong)
        return
    yield from _wrong_settings(command, given)
    if command.is_whole:
        yield from files.missing(command, given)


def _given(command: Command) -> Mapping[str, Any]:
    """What a command gives to its parameters, by name; of other programs nothing is known.

    Raises:
        Wrong: there is no such command or option, or something is missing.
    """
    words = list(command.words)
    if command.program == "accelerate" and "-m" in words:
        words = words[words.index("-m") :]
    if command.program == "cai":
        return _parsed(_cai(), words, command.is_whole)
    if command.program == "make":
        _check_targets(words)
    if command.program == "pip":
        _check_extras(words)
    if command.program in ("python", "accelerate") and words[0] == "-m" and len(words) > 1:
        return _of_module(words[1], words[2:], command.is_whole)
    return {}


@cache
def _cai() -> Any:
    return typer.main.get_command(app)


def _parsed(command: Any, words: list[str], is_whole: bool) -> Mapping[str, Any]:
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    under = getattr(command, "commands", None)
    if under is not None and words and not words[0].startswith("-"):
        raise Wrong(f"there is no {words[0]!r}; there are {', '.join(under)}")
    if is_whole and "--help" not in words:
        try:
            return _typed(command.make_context(command.name, words))
        except TyperException as error:
            raise Wrong(getattr(error, "format_message", error.__str__)()) from error
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    for word in words:
        if word.startswith("--") and word.partition("=")[0] not in known | {"--", "--help"}:
            raise Wrong(f"there is no option {word}")
    return {}


def _typed(context: Any) -> Mapping[str, Any]:
    """The values of a command's parameters; None for those that were not typed."""
    return {
        name: value if context.get_parameter_source(name).name == "COMMANDLINE" else None
        for name, value in context.params.items()
    }


def _of_module(module: str, words: list[str], is_whole: bool) -> Mapping[str, Any]:
    if module in ("venv", "http.server", "mkdocs", "pytest"):
        return {}
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise Wrong(f"there is no module {module}")
    if not (is_whole or words):
        return {}
    if BY_TYPER.search(Path(spec.origin).read_text(encoding="utf-8")):
        return _parsed(module_command(module), words, is_whole)
    said = _help(module)
    for word in words:
        if word.startswith("--") and word not in said:
            raise Wrong(f"there is no option {word}")
    return {}


@cache
def _help(module: str) -> str:
    """What a module that reads its options by argparse says of them."""
    command = [sys.executable, "-m", module, "--help"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def _check_targets(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        name, is_variable, _ = word.partition("=")
        pattern = rf"^{re.escape(name)} \?=" if is_variable else rf"^{re.escape(name)}:"
        if not re.search(pattern, makefile, re.MULTILINE):
            raise Wrong(f"the Makefile has no {name}")


def _check_extras(words: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for word in words:
        if re.fullmatch(rf"{project['name']}(\[.*\])?", word):
            raise Wrong(f"{project['name']} is on no index; install the checkout: '.[EXTRA]'")
        found = re.fullmatch(r"\.\[(.*)\]", word)
        for extra in found[1].split(",") if found else ():
            if extra not in project["optional-dependencies"]:
                raise Wrong(f"there is no extra {extra}")


def _wrong_settings(command: Command, given: Mapping[str, Any]) -> Iterator[str]:
    """Keys after ``--set`` that no recipe has."""
    section = next((SECTIONS[word] for word in command.words if word in SECTIONS), "")
    for name in ("overrides", "set_"):
        for override in given.get(name) or ():
            key = f"{section}.{override.partition('=')[0]}".lstrip(".")
            if not is_key(key):
                yield f"a recipe has no {key}"
