"""Reference pages that are made from the code; ``make docs`` writes them anew.

Each module makes the page of its name. Texts come from where they are needed anyway: the help of a
command, the descriptions of a setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.reference.cli import command_page
from docs.reference.notebook import notebook_page
from docs.reference.settings import constitution_page, recipe_page

FOLDER = Path(__file__).parent

PAGES: Mapping[str, Callable[[], str]] = {
    "cli.md": command_page,
    "recipe.md": recipe_page,
    "constitution.md": constitution_page,
    "notebook.md": notebook_page,
}
"""What makes each page."""


def write_pages(folder: Path = FOLDER) -> None:
    """Write every page anew.

    Args:
        folder: where to.

    Raises:
        CaiError: a setting or an option has no description.
    """
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


def stale_pages(folder: Path = FOLDER) -> list[str]:
    """The pages of a folder that are missing, or not what the code says.

    Raises:
        CaiError: a setting or an option has no description.
    """
    return [name for name, page in PAGES.items() if _read(folder / name) != page()]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
