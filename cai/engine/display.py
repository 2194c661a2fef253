"""How a run's progress is shown: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cai.engine.standing import (
    Standing,
    batch_parts,
    call_parts,
    count_parts,
    fitted,
    limit_parts,
    row_parts,
    token_parts,
)
from cai.terminal import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

BAR = 32
"""Characters of a bar where there is room for it."""

SHORTEST_BAR = 6


class Display(Protocol):
    """Shows standings; `seconds` is how long to wait between two of the same part."""

    seconds: float

    def show(self, standing: Standing) -> None:
        """Show a part as it stands now."""
        ...

    def say(self, text: str) -> None:
        """Show a line that is no standing."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was found."""
        ...


def display_on(console: Console) -> Display:
    """Bars if the console is a terminal, lines if it is a file or a pipe."""
    return Bars(console) if console.is_terminal else Lines(console)


class Silent:
    """Shows nothing."""

    seconds = 5.0

    def show(self, standing: Standing) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing is left open."""


class Lines:
    """One line for each standing."""

    seconds = 5.0

    def __init__(self, console: Console) -> None:
        """Write to the console."""
        self._console = console

    def show(self, standing: Standing) -> None:
        """Write a line, however long."""
        self.say(line_of(standing))

    def say(self, text: str) -> None:
        """Write a line, however long."""
        _print(self._console, text)

    def close(self) -> None:
        """Nothing is left open."""


class Bars:
    """A bar for each part under way, its figures below; what has ended stays above, in short."""

    seconds = 0.25

    def __init__(self, console: Console) -> None:
        """Draw nothing before the first standing."""
        from rich.live import Live

        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._shown: dict[str, Standing] = {}

    def show(self, standing: Standing) -> None:
        """Draw the part anew, or for the last time."""
        if standing.ended:
            self._shown.pop(standing.title, None)
            self._live.console.print(Drawn(standing))
        else:
            self._shown[standing.title] = standing
            self._live.start()
        self._draw()

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        _print(self._live.console, text)

    def close(self) -> None:
        """Stop drawing; the last state of every bar stays to be read."""
        left, self._shown = list(self._shown.values()), {}
        self._draw()
        self._live.stop()
        for standing in left:
            self._live.console.print(Drawn(standing))

    def _draw(self) -> None:
        from rich.console import Group

        drawn = (Drawn(standing) for standing in self._shown.values())
        self._live.update(Group(*drawn), refresh=True)


class Drawn:
    """A standing as rich draws it, in the width that there is.

    Args:
        standing: what to draw.
    """

    def __init__(self, standing: Standing) -> None:
        """Keep the standing."""
        self._standing = standing

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give a head with the bar, and the figures below it."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        standing, width = self._standing, options.max_width
        head, *figures = lines_for(standing, width)
        left = width - len(standing.title) - len(head) - 3
        grid = Table.grid(padding=(0, 1), expand=False)
        if standing.total and left >= SHORTEST_BAR:
            bar = ProgressBar(standing.total, standing.done, width=min(left, BAR))
            grid.add_row(Text(standing.title), bar, Text(head))
            yield grid
        else:
            line = f"{standing.title}: {head}"
            yield Text(printable(line), no_wrap=True, overflow="ellipsis")
        for line in figures:
            yield Text(f"  {printable(line)}", no_wrap=True, overflow="ellipsis")


def lines_for(standing: Standing, width: int) -> list[str]:
    """Counts that stand beside the title and its bar, then the lines of figures below them.

    Args:
        standing: what to tell.
        width: characters of the terminal.
    """
    beside = width - len(standing.title) - SHORTEST_BAR - 3
    head = fitted(count_parts(standing), beside)
    rows, calls, tokens = row_parts(standing), call_parts(standing), token_parts(standing)
    limits = [[part] for part in (*batch_parts(standing), *limit_parts(standing))]
    groups = [rows + calls + tokens] if standing.ended else [rows, calls, tokens, *limits]
    return [head, *(fitted(parts, width - 2) for parts in groups if parts)]


def line_of(standing: Standing) -> str:
    """``title: 12/40 · ok 11 · …``, with every figure."""
    words = (row_parts, call_parts, token_parts, batch_parts, limit_parts)
    counts = count_parts(standing)
    parts = [*counts[:1], *(part for of in words for part in of(standing)), *counts[1:]]
    return f"{standing.title}: {fitted(parts)}"


def _print(console: Console, text: str) -> None:
    console.print(printable(text), markup=False, highlight=False, emoji=False, soft_wrap=True)
