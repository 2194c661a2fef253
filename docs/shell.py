"""Shell lines on pages, taken apart into commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from docs.pages import Code

PROGRAMS = frozenset({"cai", "make", "python", "accelerate", "pip", "cp"})
"""What is looked at; other programs are not ours."""

ASSIGNMENT = re.compile(r"[A-Z_]+=.*")
SHELL = frozenset({"", "sh", "bash", "console"})


class Command(NamedTuple):
    """A command as a page shows it.

    Args:
        code: where it stands.
        program: without folder.
        words: all that follows.
        writes: the file that its output goes to; empty for the screen.
        is_whole: whether it can be typed as it stands; in a text it may be a name alone.
    """

    code: Code
    program: str
    words: tuple[str, ...]
    writes: str
    is_whole: bool

    def __str__(self) -> str:
        """The command on one line."""
        return " ".join([self.program, *self.words])


def commands_of(code: Code) -> Iterator[Command]:
    """The commands of a piece of code, each once.

    Raises:
        ValueError: a line begins as a command does, and a quotation in it has no end.
    """
    if code.language not in SHELL:
        return
    text = re.sub(r"\\\n\s*", " ", code.text)
    text = re.sub(r"<([\w ]+)>", lambda found: found[1].upper().replace(" ", "_"), text)
    for line in text.splitlines() if code.is_block else [" ".join(text.split())]:
        if _is_command(line):
            for inner in re.findall(r"\$\(([^)]+)\)", line):
                yield from commands_of(code._replace(text=inner))
            yield from _commands(code, line)


def _is_command(line: str) -> bool:
    """Whether a line, or what follows in it after another command, begins as a command does.

    Other lines are output, or prose.
    """
    for part in re.split(r"&&|\|", line):
        words = [word for word in part.split() if word != "$" and not ASSIGNMENT.fullmatch(word)]
        if len(words) > 1 and _program(words[0]) in PROGRAMS:
            return True
    return False


def _program(word: str) -> str:
    return re.sub(r"^python3$", "python", PurePosixPath(word).name)


def _commands(code: Code, line: str) -> Iterator[Command]:
    for choice in _choices(line) if not code.is_block else [line]:
        lexer = shlex.shlex(choice, posix=True, punctuation_chars="|;&<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for token in [*lexer, ";"]:
            if token.strip("|;&"):
                words.append(token)
            elif words:
                yield _command(code, words)
                words = []


def _choices(line: str) -> list[str]:
    """`train sft|pm` in a text stands for two commands."""
    found = re.search(r"\w+(?:\|\w+)+", line)
    if found is None:
        return [line]
    return [line.replace(found[0], choice) for choice in found[0].split("|")]


def _command(code: Code, words: list[str]) -> Command:
    begun = [word for word in words if word != "$"]
    while begun and ASSIGNMENT.fullmatch(begun[0]):
        begun.pop(0)
    program, *rest = begun or [""]
    writes = ""
    if ">" in rest:
        at = rest.index(">")
        writes, rest = rest[at + 1], rest[:at] + rest[at + 2 :]
    kept = rest if code.is_block else [word for word in rest if word != "…"]
    return Command(code, _program(program), tuple(kept), writes, code.is_block)
