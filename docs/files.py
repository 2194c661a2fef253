"""The files that commands on the pages read: are they there by then?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cai.recipe import load_recipe
from docs.pages import FIRST
from docs.shell import Command

YOURS = frozenset(
    {
        "438HHHEvaluations.jsonl",
        "PAIRS.jsonl.gz",
        "chats.jsonl",
        "harmful.json",
        "mine.yaml",
        "my-lora",
        "old.yaml",
        "pairs.jsonl",
        "prompts.jsonl",
        "recipe.yaml",
        "red-instruct/adversarialqa.json",
        "red-instruct/catqa_english.json",
        "red-instruct/dangerousqa.json",
        "red-instruct/harmfulqa.json",
        "red.txt",
        "rules.csv",
        "runs/claude",
        "runs/demo-shard-1-of-2",
        "runs/demo-shard-2-of-2",
        "runs/mine",
        "self-instruct/seed_tasks.jsonl",
        "self-instruct/user_oriented_instructions.jsonl",
        "xstest_prompts.csv",
    }
)
"""Names that pages use for files that the reader brings."""

PLACEHOLDER = re.compile(r"(?:^|/)(?:[A-Z][A-Z_]+\b|…)")
"""A name in capitals stands for one of the reader's."""

SUFFIXES = frozenset(
    {".yaml", ".yml", ".json", ".jsonl", ".gz", ".csv", ".txt", ".parquet", ".py", ".md"}
)
"""By these a text is known to name a file."""

NOT_OURS = frozenset({"runs", "build"})
"""Folders that no fresh checkout has, whatever lies there."""

MADE = frozenset({"out", "figures", "ledger", "junit"})
"""Parameters that name what a command writes."""


class Files:
    """What there is when a command on a page is typed."""

    def __init__(self, root: Path) -> None:
        """Begin with a fresh checkout.

        Args:
            root: its folder.
        """
        self._root = root
        self._first: set[str] = set()
        self._made: set[str] = set()
        self._turned = 0

    def turn_page(self) -> None:
        """Begin another page: of what others have made, that of the first ones is there."""
        if self._turned <= len(FIRST):
            self._first |= self._made
        self._turned += 1
        self._made = set(self._first)

    def missing(self, command: Command, given: Mapping[str, Any]) -> Iterator[str]:
        """What a command reads and nothing has made; what it makes is there from then on.

        Args:
            command: as a page shows it.
            given: its parameters by name, where they are known.
        """
        made = {str(value) for name in MADE for value in _listed(given.get(name))}
        made |= {command.writes} if command.writes else set()
        made |= set(self._by_kind(command, given))
        read = set(_named(command, given)) - made
        yield from (f"nothing has made {path}" for path in sorted(read) if not self._is_there(path))
        self._made |= made

    def _by_kind(self, command: Command, given: Mapping[str, Any]) -> Iterator[str]:
        """What a command makes without saying so in an option of its own."""
        words = command.words
        if command.program == "make" and words[0] == "demo":
            yield next((one[4:] for one in words if one.startswith("RUN=")), "runs/microworld")
        if command.program == "cp":
            yield words[-1]
        if words[:2] == ("-m", "venv"):
            yield words[2]
        if words[:2] in (("constitution", "new"), ("runs", "merge")):
            yield words[2]
        if words[:2] == ("generate", "prompts") and given.get("out"):
            yield f"runs/{Path(given['out']).stem}"
        if given.get("recipe") and "run" in given:
            yield str(given["run"] or self._run_of(Path(given["recipe"])))

    def _run_of(self, recipe: Path) -> str:
        """The folder of a recipe's run, if nothing else is said."""
        shipped = self._root / recipe
        name = load_recipe(shipped).name if shipped.is_file() else recipe.stem
        return f"runs/{name}"

    def _is_there(self, path: str) -> bool:
        plain = path.removeprefix("./")
        if plain in YOURS or PLACEHOLDER.search(plain):
            return True
        above = {plain, *map(str, Path(plain).parents)} - {"."}
        is_ours = Path(plain).parts[0] not in NOT_OURS
        return bool(above & self._made) or (is_ours and (self._root / plain).exists())


def _named(command: Command, given: Mapping[str, Any]) -> Iterator[str]:
    """The files that a command names: paths, and texts that end as files do."""
    if command.program == "cp":
        yield from command.words[:-1]
    if command.program == "python" and command.words[0].endswith(".py"):
        yield command.words[0]
    for name, values in given.items():
        for value in _listed(values):
            is_file = isinstance(value, Path) or Path(str(value)).suffix in SUFFIXES
            if is_file and name not in MADE and "=" not in str(value):
                yield str(value)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
