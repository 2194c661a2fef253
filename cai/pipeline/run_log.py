"""What a run's log tells of it: its attempts, how far each part came, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError

from cai.engine.events import UnreadableLine, read_events
from cai.engine.standing import Standing
from cai.engine.tally import Counts

End = Literal["run_ended", "stopped"]

_STANDING = TypeAdapter(Standing)


@dataclass(frozen=True)
class PartLog:
    """The last that is known of one part of a run.

    Args:
        standing: its figures.
        attempt: the one that they come from, counted from 1.
    """

    standing: Standing
    attempt: int


@dataclass(frozen=True)
class Spent:
    """What one part took, over all attempts.

    Args:
        seconds: of its own time.
        calls: its calls; None for a training, which makes none.
    """

    seconds: float
    calls: Counts | None

    def __add__(self, other: Spent) -> Spent:
        """Both together."""
        if self.calls is None or other.calls is None:
            return Spent(self.seconds + other.seconds, self.calls or other.calls)
        return Spent(self.seconds + other.seconds, self.calls + other.calls)


_NOTHING = Spent(0.0, None)


@dataclass(frozen=True)
class RunLog:
    """A run as its log has it; every process that worked on it made one attempt.

    Args:
        attempts: how many there were; 0 if the log tells of none.
        process: id of the last one's process.
        command: what was typed for the last one.
        steps: what the last one was to do.
        earlier_steps: what those before it were to do, in their order.
        began: when the first event of the log was noted; None if there is none.
        latest: when its last event was noted.
        end: how the last attempt ended; None if the log does not say.
        error: what stopped the last one.
        parts: stages and trainings, in the order in which they last began.
        calls: of all attempts together.
        spent: by title of each part, of all attempts together, in the order of first mention.
        seconds: of all attempts together.
        notes: what could not be read, for people.
    """

    attempts: int = 0
    process: int | None = None
    command: str = ""
    steps: tuple[str, ...] = ()
    earlier_steps: tuple[tuple[str, ...], ...] = ()
    began: datetime | None = None
    latest: datetime | None = None
    end: End | None = None
    error: str = ""
    parts: tuple[PartLog, ...] = ()
    calls: Counts = field(default_factory=Counts)
    spent: Mapping[str, Spent] = field(default_factory=dict[str, Spent])
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


def read_run_log(path: Path) -> RunLog:
    """Read a run's log; lines that are no event are left out and noted.

    Raises:
        RunError: it cannot be read.
    """
    reading = _Reading()
    for number, event in enumerate(read_events(path), start=1):
        if isinstance(event, UnreadableLine):
            reading.note(path, event)
        else:
            try:
                reading.take(event)
            except ValidationError as error:
                fault = error.errors()[0]
                place = ".".join(str(part) for part in fault["loc"])
                reading.notes.append(f"{path}: event {number} is left out: {place}: {fault['msg']}")
    return reading.log()


class _Event(BaseModel):
    """The fields of all events but those of a stage's figures; others are let through."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    time: AwareDatetime
    event: str
    process: int | None = None
    command: str = ""
    steps: tuple[str, ...] = ()
    error: str = ""
    title: str = ""
    step: int = 0
    total: int | None = None
    loss: float | None = None
    seconds: float = 0.0


def _training(event: _Event) -> Standing:
    ended = event.total is not None and event.step >= event.total
    return Standing(
        event.title,
        event.step,
        event.total,
        seconds=event.seconds,
        loss=event.loss,
        ended=ended,
    )


class _Reading:
    """Takes events in their order."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._log = RunLog()
        self._parts: dict[str, PartLog] = {}
        self._attempt_began: datetime | None = None
        # Figures of a part count from its last beginning: what they leave out is added up here.
        self._earlier: dict[str, Spent] = {}
        self._counted: dict[str, Spent] = {}

    def note(self, path: Path, line: UnreadableLine) -> None:
        why = "is cut off, as when a process is killed" if line.cut_off else "is no event"
        self.notes.append(f"{path}: line {line.number} {why}; it is left out")

    def take(self, fields: Mapping[str, Any]) -> None:
        event = _Event.model_validate(fields)
        if event.event == "run_began":
            self._begin(event)
        elif event.event == "stage_began":
            self._settle(event.title)
            self._parts.pop(event.title, None)
            self._set(Standing(event.title, 0, event.total, calls=Counts()))
        elif event.event in ("stage", "stage_ended"):
            standing = _STANDING.validate_python(fields)
            self._counted[standing.title] = Spent(standing.seconds, standing.calls or Counts())
            self._set(standing)
        elif event.event == "step":
            if event.seconds < self._counted.get(event.title, _NOTHING).seconds:
                self._settle(event.title)  # Its clock began anew: another model of that title.
            self._counted[event.title] = Spent(event.seconds, None)
            self._set(_training(event))
        elif event.event in ("run_ended", "stopped"):
            end: End = "run_ended" if event.event == "run_ended" else "stopped"
            self._log = replace(self._log, end=end, error=event.error)
        self._log = replace(self._log, began=self._log.began or event.time, latest=event.time)

    def log(self) -> RunLog:
        for title in list(self._counted):
            self._settle(title)
        spent = self._earlier.values()
        return replace(
            self._log,
            parts=tuple(self._parts.values()),
            calls=sum((one.calls for one in spent if one.calls is not None), Counts()),
            spent=self._earlier,
            seconds=self._log.seconds + self._attempt_seconds(),
            notes=tuple(self.notes),
        )

    def _begin(self, event: _Event) -> None:
        for title in list(self._counted):
            self._settle(title)
        before = (self._log.steps,) if self._log.attempts else ()
        self._log = replace(
            self._log,
            attempts=self._log.attempts + 1,
            process=event.process,
            command=event.command,
            steps=event.steps,
            earlier_steps=self._log.earlier_steps + before,
            end=None,
            error="",
            seconds=self._log.seconds + self._attempt_seconds(),
        )
        self._attempt_began = event.time

    def _set(self, standing: Standing) -> None:
        self._parts[standing.title] = PartLog(standing, self._log.attempts)

    def _settle(self, title: str) -> None:
        if (counted := self._counted.pop(title, None)) is not None:
            earlier = self._earlier.get(title)
            self._earlier[title] = counted if earlier is None else earlier + counted

    def _attempt_seconds(self) -> float:
        began, latest = self._attempt_began, self._log.latest
        return (latest - began).total_seconds() if began and latest else 0.0
