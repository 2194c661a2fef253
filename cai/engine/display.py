"""How a run's progress is shown: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID


@dataclass(frozen=True)
class Standing:
    """Where one part of a run stands.

    Args:
        title: its name for people.
        done: items or steps done.
        total: of all; None if not known.
        detail: further figures, as text.
        seconds_left: until the end, as far as can be told.
    """

    title: str
    done: int
    total: int | None
    detail: str
    seconds_left: float | None = None

    def __str__(self) -> str:
        """Give ``title: 12/40 · detail · 0:35 left``."""
        count = f"{self.done}/{self.total}" if self.total is not None else f"{self.done}"
        parts = [f"{self.title}: {count}", self.detail, *self._time_left()]
        return " · ".join(part for part in parts if part)

    def _time_left(self) -> list[str]:
        if self.seconds_left is None:
            return []
        minutes, seconds = divmod(round(self.seconds_left), 60)
        hours, minutes = divmod(minutes, 60)
        clock = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
        return [f"{clock} left"]


class Display(Protocol):
    """Shows standings; `seconds` is how long to wait between two of the same part."""

    seconds: float

    def show(self, standing: Standing) -> None:
        """Show a part as it stands now."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was found."""
        ...


def display_on(console: Console) -> Display:
    """Bars if the console is a terminal, lines if it is a file or a pipe."""
    return Bars(console) if console.is_terminal else Lines(console)


class Lines:
    """One line for each standing."""

    seconds = 5.0

    def __init__(self, console: Console) -> None:
        """Write to the console."""
        self._console = console

    def show(self, standing: Standing) -> None:
        """Write a line."""
        self._console.print(str(standing), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Nothing is left open."""


class Bars:
    """A bar for each part of the run."""

    seconds = 0.1

    def __init__(self, console: Console) -> None:
        """Draw nothing before the first standing."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[standing]}", markup=False),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def show(self, standing: Standing) -> None:
        """Move the part's bar, making it at its first standing."""
        text = str(standing).removeprefix(f"{standing.title}: ")
        if standing.title not in self._tasks:
            self._bars.start()
            self._tasks[standing.title] = self._bars.add_task(standing.title, standing=text)
        self._bars.update(
            self._tasks[standing.title],
            completed=standing.done,
            total=standing.total,
            standing=text,
        )

    def close(self) -> None:
        """Stop drawing; the last state of every bar stays to be read."""
        self._bars.stop()
