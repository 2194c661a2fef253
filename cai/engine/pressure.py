"""What one model on one server is asked at once and per minute, by all rows of a run together.

Every try of a call is let in here first. It waits while the provider has asked for patience, while
a limit per minute is used up, or while as many calls are under way as the server can take. Where
nothing holds it back, it is let in without a lock, a task or a turn of the event loop.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import NamedTuple, Self

from cai.engine.concurrency import Concurrency
from cai.engine.need import Need
from cai.engine.rates import AnnouncedRate, PerMinute, Rate, Slice
from cai.errors import TransientError
from cai.models.limits import Allowance, Announced, Kind
from cai.records import Usage

LOOK_AGAIN = 5.0
"""Seconds after which a call that waits looks whether what held it back has changed."""

LONGEST_SILENCE = 60.0
"""Seconds between two tries while none is answered; the first such wait is a second."""


class Hold(NamedTuple):
    """What holds a call back.

    Args:
        seconds: until it may be let in, as far as is known; infinite: when another call ends.
        words: the reason, for people; empty if it is none that they need to know.
    """

    seconds: float
    words: str


class Limit(NamedTuple):
    """A limit per minute: of what, how it is kept, and its name for people."""

    kind: Kind
    rate: Rate
    words: str


class Taken(NamedTuple):
    """What a try took of a limit."""

    limit: Limit
    part: Slice | None


class Admission:
    """One try that was let in; used in a ``with`` block around it.

    Args:
        pressure: what let it in.
        number: its place in the order of those let in, from 1.
        need: what it uses, as estimated.
        before: what all tries let in until then use, with this one.
        taken: what it took of each limit.
        began: when, in seconds of the clock.
    """

    __slots__ = ("_pressure", "_token", "before", "began", "need", "number", "taken", "usage")

    def __init__(
        self,
        pressure: Pressure,
        number: int,
        need: Need,
        before: Need,
        taken: Sequence[Taken],
        began: float,
    ) -> None:
        """Take the place of one call."""
        self.number = number
        self.need = need
        self.before = before
        self.taken = taken
        self.began = began
        self.usage: Usage | None = None
        self._pressure = pressure
        self._token: Token[Admission | None] | None = None

    def __enter__(self) -> Self:
        """Begin the try."""
        self._token = _CURRENT.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the place back, and learn from how the try ended."""
        if self._token is not None:
            _CURRENT.reset(self._token)
        self._pressure.leave(self, error)


_CURRENT: ContextVar[Admission | None] = ContextVar("the try that this task makes", default=None)


class Pressure:
    """Lets the tries of one model in.

    Args:
        in_flight: calls at once before anything is known of the server.
        allowance: limits that a person has given.
        tell: is told in a few words what holds calls back, and nothing ("") once nothing does.
        clock: seconds that only go forward.
        sleep: waits a number of seconds of that clock.
    """

    def __init__(
        self,
        in_flight: int,
        allowance: Allowance | None = None,
        *,
        tell: Callable[[str], None] = lambda words: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Begin with no call under way."""
        allowance = allowance or Allowance()
        self.active = 0
        self.has_answered = False
        self.silent_tries = 0
        self._concurrency = Concurrency(in_flight, allowance.concurrency)
        self._given = _given(allowance)
        self._announced: dict[Kind, Limit] = {}
        self._limits: Sequence[Limit] = self._given
        self._heard_of = 0
        self._admitted = 0
        self._before = Need(0)
        self._paused_until = -math.inf
        self._turn = asyncio.Lock()
        self._left = asyncio.Event()
        self._waiting = 0
        self._tell = tell
        self._clock = clock
        self._sleep = sleep

    @property
    def counts_tokens(self) -> bool:
        """True if a need must say its tokens."""
        return any(limit.kind != "requests" for limit in self._limits)

    def admit_now(self, need: Need) -> Admission | None:
        """Let a try in at once; None if it has to wait."""
        if self._waiting:
            return None
        now = self._clock()
        return None if self._hold(need, now) else self._let_in(need, now)

    async def admit(self, need: Need) -> Admission:
        """Let a try in when its turn has come and nothing holds it back."""
        self._waiting += 1
        try:
            async with self._turn:
                while (hold := self._hold(need, self._clock())) is not None:
                    self._tell(hold.words)
                    await self._look_again(hold.seconds)
                return self._let_in(need, self._clock())
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._tell("")

    def note_limits(self, limits: Iterable[Announced]) -> None:
        """Believe what the headers of the answer to this task's try tell."""
        admission = _CURRENT.get()
        if admission is None or admission.number < self._heard_of:
            # An answer that came late tells an older state.
            return
        self._heard_of = admission.number
        now = self._clock()
        for one in limits:
            since = self._before.amount(one.kind) - admission.before.amount(one.kind)
            rate = AnnouncedRate(one, since, now)
            words = f"the provider's limit of {_WORDS[one.kind]}"
            self._announced[one.kind] = Limit(one.kind, rate, words)
        self._limits = [*self._given, *self._announced.values()]

    def leave(self, admission: Admission, error: BaseException | None) -> None:
        """A try ended: answered if there is no error. Called by the admission."""
        now = self._clock()
        if error is None:
            self._answered(admission, now)
        elif isinstance(error, TransientError):
            self._failed(admission, error, now)
        self.active -= 1
        self._left.set()

    def _answered(self, admission: Admission, now: float) -> None:
        self.has_answered = True
        self.silent_tries = 0
        seconds = now - admission.began
        self._concurrency.answered(admission.number, self._admitted, seconds, now)
        usage = admission.usage
        # A server that does not count tokens gives 0: then the estimate is all there is.
        if admission.taken and usage is not None and usage.input_tokens:
            used = Need(1, usage.input_tokens, usage.output_tokens)
            for (kind, rate, _), part in admission.taken:
                rate.correct(part, used.amount(kind) - admission.need.amount(kind))

    def _failed(self, admission: Admission, error: TransientError, now: float) -> None:
        if error.cause == "fault":
            return
        was_alone = self._concurrency.limit == 1
        is_news = self._concurrency.overloaded(admission.number, self.active, self._admitted)
        if error.retry_after is not None and self._concurrency.is_heeding:
            self._paused_until = max(self._paused_until, now + error.retry_after)
        if is_news and was_alone:
            # One call at a time, and that one fails: ask ever more seldom until one is answered.
            silence = min(LONGEST_SILENCE, 2.0**self.silent_tries)
            self._paused_until = max(self._paused_until, now + silence)
            self.silent_tries += 1

    def _hold(self, need: Need, now: float) -> Hold | None:
        at_once = self._concurrency.limit
        if self.active >= at_once:
            why = " since an overload" if self._concurrency.was_lowered else ""
            return Hold(math.inf, f"{at_once} calls at once{why}")
        held = None
        if self._paused_until > now:
            seconds = self._paused_until - now
            held = Hold(seconds, f"asked to wait {seconds:.0f} s")
        for kind, rate, words in self._limits:
            seconds = rate.wait(need.amount(kind), now)
            if seconds > (held.seconds if held else 0.0):
                held = Hold(seconds, words)
        return held

    def _let_in(self, need: Need, now: float) -> Admission:
        self.active += 1
        self._admitted += 1
        self._concurrency.let_in(self._admitted, self.active)
        self._before = self._before.plus(need)
        taken = [
            Taken(limit, limit.rate.take(need.amount(limit.kind), now)) for limit in self._limits
        ]
        return Admission(self, self._admitted, need, self._before, taken, now)

    async def _look_again(self, seconds: float) -> None:
        if math.isinf(seconds):
            self._left.clear()
            await self._left.wait()
        else:
            await self._sleep(min(seconds, LOOK_AGAIN))


_WORDS: Mapping[Kind, str] = {
    "requests": "requests",
    "tokens": "tokens",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
}


def _given(allowance: Allowance) -> Sequence[Limit]:
    per_minute: Mapping[Kind, int | None] = {
        "requests": allowance.requests_per_minute,
        "input_tokens": allowance.input_tokens_per_minute,
        "output_tokens": allowance.output_tokens_per_minute,
    }
    return [
        Limit(kind, PerMinute(limit), f"{limit:,} {_WORDS[kind]} per minute")
        for kind, limit in per_minute.items()
        if limit is not None
    ]
