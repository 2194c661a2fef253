"""What a person sees of a run while it goes on, and what its log keeps of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import orjson

from cai.engine.display import Display, Standing, display_on
from cai.engine.tally import ModelTally, Tally
from cai.errors import RunError
from cai.records import Row, RowStatus

if TYPE_CHECKING:
    from rich.console import Console

LOG_SECONDS = 5.0

Clock = Callable[[], float]
Note = Callable[[str, Mapping[str, Any]], None]


class Progress:
    """Shows the parts of a run, and appends events to its log; use it in a ``with`` block.

    Args:
        log: a file of one JSON object a line, added to; None to keep no log.
        console: where progress is shown; standard error if None.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        log: Path | None = None,
        *,
        console: Console | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        """Open the log.

        Raises:
            RunError: the log cannot be written.
        """
        self._display = display_on(console or _standard_error())
        self._log = _Log(log) if log is not None else None
        self._clock = clock

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was, note an error, and close the log."""
        self._display.close()
        if error is not None:
            self._note("stopped", {"error": f"{type(error).__name__}: {error}"})
        if self._log is not None:
            self._log.close()

    def stage(self, title: str, tally: Tally, total: int | None = None) -> StageProgress:
        """Watch the rows of one pass.

        Args:
            title: its name for people.
            tally: tells how many calls were made and found.
            total: number of items, if the source cannot tell it; without it no end is foreseen.
        """
        return StageProgress(
            title, tally, total, display=self._display, note=self._note, clock=self._clock
        )

    def training(self, title: str) -> Callable[[int, int, float | None], None]:
        """A function to be told of a training: steps done, steps in all, and the loss if known."""
        due = _Due(self._clock, self._display.seconds)

        def report(step: int, total: int, loss: float | None = None) -> None:
            self._note("step", {"title": title, "step": step, "total": total, "loss": loss})
            if due() or step >= total:
                detail = "" if loss is None else f"loss {loss:.4f}"
                self._display.show(Standing(title, step, total, detail))

        return report

    def _note(self, event: str, fields: Mapping[str, Any]) -> None:
        if self._log is not None:
            self._log.add(event, fields)


class StageProgress:
    """Watches one pass of `run_rows`.

    Args:
        title: its name for people.
        tally: the run's calls; those made before count for nothing here.
        total: number of items, if known beforehand.
        display: where it is shown.
        note: adds an event to the log.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        title: str,
        tally: Tally,
        total: int | None = None,
        *,
        display: Display,
        note: Note,
        clock: Clock,
    ) -> None:
        """Begin with nothing done."""
        self._title = title
        self._tally = tally
        self._display = display
        self._note = note
        self._clock = clock
        self._rows: dict[RowStatus, int] = {}
        self._done = 0
        self._total = total
        self._before = tally.total
        self._began = clock()
        self._due_to_show = _Due(clock, display.seconds)
        self._due_to_note = _Due(clock, LOG_SECONDS)

    def begin(self, total: int | None) -> None:
        """Show the stage with nothing done."""
        self._total = total if total is not None else self._total
        self._note("stage_began", {"title": self._title, "total": self._total})
        self._display.show(self._standing())

    def row(self, row: Row) -> None:
        """Count a row; one that is not "ok" is noted in the log with its reason."""
        self._rows[row.status] = self._rows.get(row.status, 0) + 1
        if row.status != "ok":
            place = asdict(row.key)
            self._note("row", {**place, "status": row.status, "reason": row.reason})

    def item(self) -> None:
        """Count an item, and show and note the state from time to time."""
        self._done += 1
        if self._due_to_show():
            self._display.show(self._standing())
        if self._due_to_note():
            self._note("stage", self._figures())

    def end(self) -> None:
        """Show and note the last state."""
        if self._total is None:
            self._total = self._done
        self._display.show(self._standing())
        self._note("stage_ended", self._figures())

    def _standing(self) -> Standing:
        calls, elapsed = self._calls(), self._clock() - self._began
        ok = self._rows.get("ok", 0)
        failed = sum(self._rows.values()) - ok
        parts = [f"ok {ok}", f"failed {failed}", f"cached {calls.cached}"]
        if elapsed > 0:
            parts.append(f"{calls.made / elapsed:.1f} calls/s")
        left = None
        if self._total is not None and 0 < self._done < self._total:
            left = elapsed / self._done * (self._total - self._done)
        return Standing(self._title, self._done, self._total, " · ".join(parts), left)

    def _figures(self) -> dict[str, Any]:
        seconds = round(self._clock() - self._began, 3)
        figures = {"title": self._title, "done": self._done, "total": self._total}
        return {**figures, "rows": self._rows, "calls": asdict(self._calls()), "seconds": seconds}

    def _calls(self) -> ModelTally:
        now, before = asdict(self._tally.total), asdict(self._before)
        return ModelTally(**{name: _since(before[name], now[name]) for name in now})


def _since(before: float | None, now: float | None) -> Any:
    return None if before is None or now is None else now - before


class _Due:
    """True at most once in so many seconds."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._next = clock() + seconds

    def __call__(self) -> bool:
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True


class _Log:
    """A file of events, each on disk as the system's cache has it when `add` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file: BinaryIO = path.open("ab", buffering=0)
        except OSError as error:
            raise RunError(f"{path} cannot be written: {error.strerror}") from error

    def add(self, event: str, fields: Mapping[str, Any]) -> None:
        line = {"time": datetime.now(UTC), "event": event, **fields}
        try:
            self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        except OSError as error:
            raise RunError(f"{self._path} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        self._file.close()


def _standard_error() -> Console:
    from rich.console import Console

    return Console(stderr=True)
