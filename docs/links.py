"""Links of the pages beside `docs/`, which MkDocs does not see: README and the like."""

from __future__ import annotations

import re
from pathlib import Path

from docs.pages import ROOT
from docs.reference.layout import slug

PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def broken_links(root: Path = ROOT) -> list[str]:
    """Links that lead nowhere, with the page that has them."""
    return [
        f"{name}: links to {target}#{anchor}".removesuffix("#") + ", which is not there"
        for name in PAGES
        for target, anchor in LINK.findall((root / name).read_text(encoding="utf-8"))
        if not _leads(root / (target or name), anchor)
    ]


def _leads(path: Path, anchor: str) -> bool:
    if not path.exists() or not anchor:
        return path.exists()
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return anchor in map(slug, titles)
