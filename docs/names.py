"""Names of the code on the pages: ``cai.recipe.Recipe``, ``cai/recipe.py``, ``rl.steps``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from docs.keys import is_key, looks_like_a_key
from docs.pages import ROOT, Code, code_of, pages, where

NAME = re.compile(r"(?:cai|trainers|bench|examples)(?:\.\w+)+")
FILE = re.compile(r"(?:cai|trainers|bench|examples|constitution|prompts|tests|docs)/[\w./-]*")
"""A file or folder of the checkout; it may end with a slash."""


def unknown_names(root: Path = ROOT) -> list[str]:
    """Names on pages that the code does not have, with their places.

    Those in texts, and what blocks of Python import.
    """
    return [
        f"{where(code, root)}: there is no `{name}`"
        for page in pages(root)
        for code in code_of(page)
        for name in _named(code)
        if not _is_there(name)
    ]


def _named(code: Code) -> Iterator[str]:
    if not code.is_block:
        yield code.text
    elif code.language == "python":
        for node in ast.walk(ast.parse(code.text)):
            if isinstance(node, ast.ImportFrom):
                yield from (f"{node.module}.{one.name}" for one in node.names)


def _is_there(text: str) -> bool:
    if FILE.fullmatch(text):
        return (ROOT / text).exists()
    if looks_like_a_key(text):
        return is_key(text)
    is_name = NAME.fullmatch(text) and not text.endswith((".yaml", ".md", ".py"))
    return not is_name or _is_defined(text.split("."))


def _is_defined(parts: Sequence[str]) -> bool:
    """Whether a module, or something in a module, has that name; nothing is imported."""
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length])
        if path.with_suffix(".py").is_file():
            return _defines(_tree(path.with_suffix(".py")), parts[length:])
        if (path / "__init__.py").is_file():
            return _defines(_tree(path / "__init__.py"), parts[length:])
    return False


def _defines(tree: ast.Module | ast.ClassDef, parts: Sequence[str]) -> bool:
    if not parts:
        return True
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == parts[0]:
            return _defines(node, parts[1:])
        if parts[0] in _bound(node):
            return len(parts) == 1
    return False


def _bound(node: ast.stmt) -> set[str]:
    """The names that a statement gives a value."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {name.asname or name.name for name in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {one.id for one in targets if isinstance(one, ast.Name)}


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
