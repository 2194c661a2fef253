"""What docstrings say of arguments is of arguments that are there."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("cai", "trainers", "bench", "docs")
SECTION = re.compile(r"^Args:\n((?:(?: {4}.*)?\n)*)", re.MULTILINE)
ARGUMENT = re.compile(r"^ {4}([\w*][\w, *]*):", re.MULTILINE)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def unknown_arguments(source: str) -> Iterator[str]:
    """``function: argument`` of each that a docstring explains and the function does not take."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Function):
            taken = {one.arg for one in arguments_of(node)}
            yield from (f"{node.name}: {one}" for one in explained(node) if one not in taken)


def arguments_of(function: Function) -> Iterator[ast.arg]:
    takes = function.args
    yield from (*takes.posonlyargs, *takes.args, *takes.kwonlyargs)
    yield from (one for one in (takes.vararg, takes.kwarg) if one is not None)


def explained(function: Function) -> Iterator[str]:
    section = SECTION.search(inspect.cleandoc(ast.get_docstring(function) or "") + "\n")
    for names in ARGUMENT.findall(section[1] if section else ""):
        yield from (name.strip(" *") for name in names.split(","))


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_docstring_explains_an_argument_that_is_not_there(folder: str):
    unknown = {
        path: list(unknown_arguments(path.read_text(encoding="utf-8")))
        for path in (ROOT / folder).rglob("*.py")
    }

    assert len(unknown) > 5
    assert {path: names for path, names in unknown.items() if names} == {}


def test_an_argument_that_is_not_there_is_found():
    source = '''
def shortened(text, *, most):
    """Cut a text.

    Args:
        text: what is cut.
        words, most: how much of it is left,
            at the least: one word.

    Raises:
        ValueError: it is empty.
    """
'''

    assert list(unknown_arguments(source)) == ["shortened: words"]
