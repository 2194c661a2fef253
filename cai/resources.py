"""Where the shipped constitutions and prompt templates lie, in a checkout and in a wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
    """Folder of shipped data files: "constitution" or "prompts".

    A wheel carries them inside the package, a checkout at its top level.

    Raises:
        FileNotFoundError: the installation is damaged.
    """
    for folder in (PACKAGE / "shipped" / name, PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the shipped folder {name!r} is missing: reinstall constitutional-ai")
