"""Which packages this project needs, in which versions, and which are installed."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from cai.errors import install_command

PROJECT = "constitutional-ai"
CHECKOUT = Path(__file__).parent.parent / "pyproject.toml"

NOT_FOR_USERS = frozenset({"dev", "bench"})
"""Extras that only those need who change this project."""


@dataclass(frozen=True)
class Needed:
    """A package, and what is known of it.

    Args:
        name: as the package index has it.
        tested: versions that this project is tested with, such as ``>=5.23,<6``; empty if unknown.
        extra: of this project, that it comes with; empty if it is always needed.
    """

    name: str
    tested: str = ""
    extra: str = ""

    @property
    def version(self) -> str | None:
        """The installed version; None if it is not installed."""
        try:
            return metadata.version(self.name)
        except metadata.PackageNotFoundError:
            return None

    @property
    def fault(self) -> bool:
        """Whether it is always needed and missing, or is there in an untested version."""
        from packaging.specifiers import SpecifierSet

        if self.version is None:
            return not self.extra
        return not SpecifierSet(self.tested).contains(self.version, prereleases=True)

    @property
    def command(self) -> str:
        """What installs it as this project wants it, typed in the checkout."""
        return install_command(self.extra)


def needed_packages() -> Iterator[Needed]:
    """What the project's own description asks for: of the checkout, or of the installed package."""
    from packaging.requirements import Requirement

    for extra, text in _requirements():
        one = Requirement(text)
        yield Needed(one.name, ",".join(sorted(map(str, one.specifier), reverse=True)), extra)


def _requirements() -> Iterator[tuple[str, str]]:
    if CHECKOUT.is_file():
        # An editable installation knows only what was asked for when it was made.
        project: dict[str, Any] = tomllib.loads(CHECKOUT.read_text(encoding="utf-8"))["project"]
        yield from (("", text) for text in project["dependencies"])
        for extra, texts in project["optional-dependencies"].items():
            if extra not in NOT_FOR_USERS:
                yield from ((extra, text) for text in texts)
        return
    for text in metadata.requires(PROJECT) or ():
        asked, _, marker = text.partition(";")
        extra = marker.partition("extra == ")[2].strip(" '\"") if "extra ==" in marker else ""
        if extra not in NOT_FOR_USERS:
            yield extra, asked
