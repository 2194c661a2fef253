"""What a person sees of a run while it goes on, and what its log keeps of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from cai import __version__
from cai.engine.display import Display, Silent, display_on
from cai.engine.events import EventLog, without_passwords
from cai.engine.pace import Pace, rates_of
from cai.engine.standing import Standing
from cai.engine.tally import Counts, Tally
from cai.records import Row

if TYPE_CHECKING:
    from rich.console import Console

LOG_SECONDS = 5.0
"""Between two standings of a stage in the log."""

Clock = Callable[[], float]


class Progress:
    """Shows the parts of a run, and appends events to its log; use it in a ``with`` block.

    Args:
        log: a file of one JSON object a line, added to; None to keep no log.
        about: what is to be known of the run beside its process, such as its command.
        events: gets the events of the log as they come, and nothing is shown; None to show them.
        console: where progress is shown; standard error if None.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        log: Path | None = None,
        *,
        about: Mapping[str, Any] | None = None,
        events: BinaryIO | None = None,
        console: Console | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        """Open the log.

        Raises:
            RunError: the log cannot be written.
        """
        self._log = EventLog(log, events)
        self._display = Silent() if events is not None else display_on(console or _terminal())
        self._about = about or {}
        self._clock = clock
        self._began = clock()

    def __enter__(self) -> Self:
        """Note that the run began; close at the end of the block."""
        process = {"process": os.getpid(), "version": __version__}
        self._log.add("run_began", {**process, **self._about})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was, note the end or the error, and close the log."""
        self._display.close()
        seconds = round(self._clock() - self._began, 3)
        try:
            if error is None:
                self._log.add("run_ended", {"seconds": seconds})
            else:
                self._log.add("stopped", {"error": _told(error), "seconds": seconds})
        finally:
            self._log.close()

    def say(self, text: str) -> None:
        """Show a line that is no standing, and note it in the log."""
        self._log.add("said", {"text": text})
        self._display.say(text)

    def stage(self, title: str, tally: Tally, total: int | None = None) -> StageProgress:
        """Watch the rows of one pass.

        Args:
            title: its name for people.
            tally: tells how many calls were made and found.
            total: number of items, if the source cannot tell it; without it no end is foreseen.
        """
        return StageProgress(
            title, tally, total, display=self._display, log=self._log, clock=self._clock
        )

    def training(self, title: str) -> Callable[[int, int, float | None], None]:
        """A function to be told of a training: steps done, steps in all, and the loss if known."""
        return TrainingProgress(title, display=self._display, log=self._log, clock=self._clock).step


class TrainingProgress:
    """Watches one training.

    Args:
        title: its name for people.
        display: where it is shown.
        log: gets the events.
        clock: seconds that only go forward.
    """

    def __init__(self, title: str, *, display: Display, log: EventLog, clock: Clock) -> None:
        """Begin before the first step."""
        self._title = title
        self._display = display
        self._log = log
        self._clock = clock
        self._began = clock()
        self._first: tuple[int, float] | None = None
        self._due = _Due(self._began, display.seconds)

    def step(self, step: int, total: int, loss: float | None = None) -> None:
        """Note a step, and show it if it is time to or if it is the last."""
        now, ended = self._clock(), step >= total
        # A training may go on from a checkpoint: steps done before tell nothing of its speed.
        first, since = self._first = self._first or (step, now)
        left = (now - since) / (step - first) * (total - step) if step > first else None
        event = {"title": self._title, "step": step, "total": total, "loss": loss}
        self._log.add("step", {**event, "seconds": round(now - self._began, 3)})
        if self._due(now) or ended:
            standing = Standing(
                self._title,
                step,
                total,
                seconds=now - self._began,
                seconds_left=None if ended else left,
                loss=loss,
                ended=ended,
            )
            self._display.show(standing)


class StageProgress:
    """Watches one pass over some stages; what it is told costs about a microsecond.

    Args:
        title: its name for people.
        tally: the run's calls; those made before count for nothing here.
        total: number of items, if known beforehand.
        display: where it is shown.
        log: gets the events.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        title: str,
        tally: Tally,
        total: int | None = None,
        *,
        display: Display,
        log: EventLog,
        clock: Clock,
    ) -> None:
        """Begin with nothing done."""
        self._title = title
        self._tally = tally
        self._display = display
        self._log = log
        self._clock = clock
        self._rows: dict[str, int] = {}
        self._by_fallback = 0
        self._done = 0
        self._calls = self._calls_of_done = 0
        self._total = total
        self._before = tally.counts
        self._began = clock()
        self._pace = Pace(self._began)
        self._due_to_show = _Due(self._began, display.seconds)
        self._due_to_note = _Due(self._began, LOG_SECONDS)

    def begin(self, total: int | None) -> None:
        """Show the stage with nothing done."""
        self._total = total if total is not None else self._total
        self._log.add("stage_began", {"title": self._title, "total": self._total})
        self._display.show(self._standing())

    def row(self, row: Row) -> None:
        """Count a row; one that has a reason to be looked at is noted in the log with it."""
        self._rows[row.status] = self._rows.get(row.status, 0) + 1
        self._calls += len(row.calls)
        self._by_fallback += row.by_fallback
        if row.status != "ok" or row.by_fallback:
            key = row.key
            place = {"stage": key.stage, "iteration": key.iteration, "prompt_id": key.prompt_id}
            place |= {"round": key.round, "sample": key.sample}
            reason = without_passwords(row.reason)
            self._log.queue("row", {**place, "status": row.status, "reason": reason})

    def item(self, calls: int) -> None:
        """Count an item, which has needed so many calls."""
        self._done += 1
        self._calls_of_done += calls

    def tick(self, stopping: bool = False) -> None:
        """Show and note the state if it is time to; to be told several times a second.

        Args:
            stopping: no new item is taken up, and calls in flight are waited for.
        """
        now = self._clock()
        self._pace.note(now, self._counts())
        self._log.flush()
        if self._due_to_show(now):
            self._display.show(self._standing(stopping=stopping))
        if self._due_to_note(now):
            self._log.add("stage", asdict(self._standing(stopping=stopping)))

    def end(self) -> None:
        """Show and note the last state."""
        standing = self._standing(ended=True)
        self._display.show(standing)
        self._log.add("stage_ended", asdict(standing))

    def _standing(self, *, stopping: bool = False, ended: bool = False) -> Standing:
        now, counts = self._clock(), self._counts()
        seconds = now - self._began
        rates = rates_of(seconds, counts) if ended else self._pace.rates(now, counts)
        outlook = self._pace.outlook(now, counts, self._share())
        return Standing(
            self._title,
            self._done,
            self._total,
            seconds=round(seconds, 3),
            rows=dict(self._rows),
            by_fallback=self._by_fallback,
            calls=counts,
            in_flight=self._tally.in_flight,
            limits=self._tally.limits,
            batches=self._tally.batches(),
            calls_per_second=round(rates.calls, 3),
            input_tokens_per_second=round(rates.input_tokens, 1),
            output_tokens_per_second=round(rates.output_tokens, 1),
            projected_cost=counts.cost if ended else outlook.cost,
            seconds_left=None if ended else _rounded(outlook.seconds),
            stopping=stopping,
            ended=ended,
        )

    def _share(self) -> float:
        """The part of the items that is done, with the rows of those under way; 0 if unknown.

        An item under way counts by its calls, as parts of those that an item has needed so far:
        else a stage whose items all began together would promise too little.
        """
        if not self._total or not self._done:
            return 0.0
        items = float(self._done)
        if self._calls_of_done:
            items *= self._calls / self._calls_of_done
        return min(items / self._total, 1.0)

    def _counts(self) -> Counts:
        return self._tally.since(self._before)


class _Due:
    """True at most once in so many seconds, and first after as many."""

    def __init__(self, now: float, seconds: float) -> None:
        self._seconds = seconds
        self._next = now + seconds

    def __call__(self, now: float) -> bool:
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _told(error: BaseException) -> str:
    """An error's kind and text."""
    text = without_passwords(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _terminal() -> Console:
    from rich.console import Console

    return Console(stderr=True, emoji=False)
