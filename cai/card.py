"""Cards in the hub's format, of data sets and of models: a YAML head, then Markdown.

A card is generated and never edited. Texts of files and models are no markup in it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from cai.untyped import untyped
from cai.whole import write_whole

CARD = "README.md"

CITATION = """@article{bai2022constitutional,
  title={Constitutional AI: Harmlessness from AI Feedback},
  author={Bai, Yuntao and others},
  journal={arXiv preprint arXiv:2212.08073},
  year={2022}
}"""
"""The method's paper."""


def write_card(folder: Path, head: Mapping[str, Any], lines: Iterable[str]) -> None:
    """Put a card into a folder, whole or not at all.

    Args:
        folder: of the data set or the model.
        head: what the hub reads, in this order; a field that is None is left out.
        lines: the Markdown behind it.
    """
    text = "\n".join(["---", _yaml(head), "---", "", *lines, ""])
    write_whole(folder / CARD, text.encode())


def read_head(folder: Path) -> dict[str, Any]:
    """What the hub reads of a folder's card; empty if it has no card, or one without a head.

    The card may be anybody's: what it says is not known either if it cannot be read.
    """
    file = folder / CARD
    yaml = untyped("ruamel.yaml")
    try:
        parts = file.read_text(encoding="utf-8").split("---\n") if file.is_file() else []
        if len(parts) < 3 or parts[0]:
            return {}
        head: Any = yaml.YAML(typ="safe").load(parts[1])
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}  # no UTF-8, a day that is none, brackets without end
    return cast("dict[str, Any]", head) if isinstance(head, dict) else {}


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines of a table under a heading; none without rows.

    Args:
        title: of the heading.
        heads: of the columns; all but the first are numbers or the like, set to the right.
        rows: their cells, which are plain text.
    """
    lines = [" | ".join(plain(cell) for cell in row) for row in rows]
    if lines:
        yield from ("", f"## {title}", "", f"| {' | '.join(heads)} |")
        yield f"|---|{'---:|' * (len(heads) - 1)}"
        yield from (f"| {line} |" for line in lines)


def citation_lines(own: str | None) -> Iterator[str]:
    """Whom to cite: those who made the run, if they say so, and the paper of the method."""
    yield from ("", "## Citation", "")
    for entry in (own, CITATION):
        if entry:
            # Four spaces: whatever is in it is shown as it is.
            yield from (*(f"    {line}" for line in entry.splitlines()), "")


def plain(text: str) -> str:
    """A text of a file or a model as one line of Markdown, with nothing in it that is markup."""
    line = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in line)


def _yaml(head: Mapping[str, Any]) -> str:
    text = io.StringIO()
    writer = untyped("ruamel.yaml").YAML()
    writer.width = 1 << 20
    writer.dump({name: value for name, value in head.items() if value is not None}, text)
    return text.getvalue().rstrip("\n")
