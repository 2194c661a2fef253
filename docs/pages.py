"""The pages that people read, and the code in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]

FIRST = ("README.md", "docs/tutorial.md")
"""What readers begin with, so that other pages may build on what these have made."""

OTHERS = ("CONTRIBUTING.md",)

COMMENTED = ("examples", "constitution")
"""Folders of YAML files whose comments speak to readers as pages do."""

COMMENT = re.compile(r"\s*#+ ?(.*)")
TYPED = re.compile(r"(?:^|: )((?:cai|make|python -m) .*)")
"""A command in a comment: a line of its own, or what follows a colon."""


class Code(NamedTuple):
    """A piece of code on a page.

    Args:
        page: path of its page.
        line: its first line there, from 1; of code within a paragraph, the paragraph's.
        text: the code.
        language: what a block says it is; empty if it says nothing.
        is_block: whether it stands by itself, rather than within a text.
    """

    page: Path
    line: int
    text: str
    language: str = ""
    is_block: bool = True


def pages(root: Path = ROOT) -> list[Path]:
    """All pages, in the order in which they are read."""
    first = [root / name for name in FIRST]
    others = [root / name for name in OTHERS]
    rest = [page for page in sorted((root / "docs").rglob("*.md")) if page not in first]
    return [*first, *others, *rest]


def code_of(page: Path) -> Iterator[Code]:
    """The code of a page, from top to bottom."""
    line = 0
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        line = token.map[0] + 1 if token.map else line
        if token.type == "fence":
            yield Code(page, line + 1, token.content, token.info.strip())
        elif token.type == "code_block":
            yield Code(page, line, token.content)
        for part in token.children or ():
            if part.type == "code_inline":
                yield Code(page, line, part.content, is_block=False)


def commented(root: Path = ROOT) -> list[Path]:
    """All YAML files of a checkout whose comments are looked at."""
    return [file for name in COMMENTED for file in sorted((root / name).rglob("*.yaml"))]


def code_of_comments(file: Path) -> Iterator[Code]:
    """The code in the comments of a YAML file that stand by themselves.

    A command may go on in the lines below it that begin with an option.
    """
    lines = file.read_text(encoding="utf-8").splitlines()
    comments = [found[1] if (found := COMMENT.fullmatch(line)) else "" for line in lines]
    for number, comment in enumerate(comments):
        if typed := TYPED.search(comment):
            more = takewhile(lambda line: line.startswith("--"), comments[number + 1 :])
            yield Code(file, number + 1, " ".join([typed[1], *more]))
    text = "\n".join(comments)
    for found in re.finditer(r"`([^`]+)`", text):
        line = text.count("\n", 0, found.start()) + 1
        yield Code(file, line, found[1], is_block=False)


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of a page that say they are in a language."""
    return [code.text for code in code_of(page) if code.is_block and code.language == language]


def where(code: Code, root: Path = ROOT) -> str:
    """Place of a piece of code, as errors name it."""
    return f"{code.page.relative_to(root)}:{code.line}"
