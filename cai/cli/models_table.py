"""The table of `cai models check`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cai.models.check import Checked
from cai.terminal import printable

WIDE = 1000
"""Columns of a page that is no terminal: nothing is broken or cut there."""

COLUMNS = (
    "model",
    "plays",
    "answers",
    "log-probs",
    "prefill",
    "seed",
    "n",
    "batch",
    "$/M in",
    "$/M out",
)


def print_checked(models: Sequence[Checked]) -> None:
    """Print a line for each model, and below what each means for labels or what went wrong."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(emoji=False)
    console = console if console.is_terminal else Console(width=WIDE, emoji=False)
    table = Table(*COLUMNS, box=box.SIMPLE_HEAD)
    for one in models:
        table.add_row(*(Text(printable(cell)) for cell in _cells(one)))
    console.print(table)
    for one in models:
        for line in _lines(one):
            console.print(Text(printable(f"{one.name}: {line}"), overflow="fold"))


def _cells(one: Checked) -> Iterator[str]:
    yield one.name
    yield ", ".join(one.roles) or "–"
    yield "no" if one.error is not None else f"{one.seconds or 0:.2f} s"
    yield "unknown" if one.logprobs is None and not one.labelled else _listed(one)
    for known in (one.prefill, one.seed, one.n, one.batch):
        yield "unknown" if known is None else "yes" if known else "no"
    yield from ("unknown",) * 2 if one.dollars is None else (f"{cost:g}" for cost in one.dollars)


def _listed(one: Checked) -> str:
    if one.logprobs is None:
        return "yes"
    return f"top {one.logprobs}" if one.logprobs else "no"


def _lines(one: Checked) -> Iterator[str]:
    if one.error is not None:
        yield f"does not answer: {one.error}"
        return
    yield f"labels: {one.labels}"
    if one.hint:
        yield one.hint
