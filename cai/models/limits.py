"""What a provider allows: limits as a person gives them, and as headers of answers tell them.

OpenAI and those who follow it send ``x-ratelimit-limit-requests``, ``-remaining-requests`` and
``-reset-requests`` ("6m0s", "20ms"), and the same of tokens. Anthropic sends
``anthropic-ratelimit-requests-limit``, ``-remaining`` and ``-reset`` (a time, RFC 3339), and the
same of tokens, input tokens and output tokens.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Literal, NamedTuple, Protocol, runtime_checkable

Kind = Literal["requests", "tokens", "input_tokens", "output_tokens"]
"""What is limited; "tokens" are those of input and output together."""


@dataclass(frozen=True)
class Allowance:
    """The most that may be asked of one model on one server; None where there is no limit.

    Args:
        requests_per_minute: requests sent in any 60 seconds, failed ones too.
        input_tokens_per_minute: tokens sent in any 60 seconds.
        output_tokens_per_minute: tokens received in any 60 seconds.
        concurrency: requests at once.
    """

    requests_per_minute: int | None = None
    input_tokens_per_minute: int | None = None
    output_tokens_per_minute: int | None = None
    concurrency: int | None = None

    def strictest(self, other: Allowance) -> Allowance:
        """Each limit as the stricter of the two has it."""
        names = [field.name for field in fields(self)]
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in names}
        return Allowance(**{name: _least(pair) for name, pair in pairs.items()})


class Announced(NamedTuple):
    """A limit as the headers of one answer tell it.

    Args:
        kind: what is limited.
        limit: the most that can be left, above 0.
        remaining: what was left when the provider looked, at least 0.
        reset: seconds until all of it is there again, at least 0.
    """

    kind: Kind
    limit: float
    remaining: float
    reset: float


LimitsHeard = Callable[[Sequence[Announced]], None]


@runtime_checkable
class TellsLimits(Protocol):
    """A model whose provider may tell limits with its answers."""

    def tell_limits(self, heard: LimitsHeard) -> None:
        """From now on, tell of limits; in the task of the call, before its answer is given."""
        ...


def _now() -> datetime:
    return datetime.now(UTC)


def read_limits(
    headers: Mapping[str, str], now: Callable[[], datetime] = _now
) -> tuple[Announced, ...]:
    """The limits that headers tell; one that is not told whole, or makes no sense, is left out.

    Args:
        headers: of an answer; names in any case, if the mapping takes them so.
        now: the time, with its zone.
    """
    found: list[Announced] = []
    for kind, limit_name, remaining_name, reset_name in _NAMES:
        remaining = _count(headers.get(remaining_name))
        if remaining is None:
            continue
        limit, reset = _count(headers.get(limit_name)), headers.get(reset_name, "")
        seconds = _seconds_until(reset, now) if "T" in reset else read_duration(reset)
        if limit and seconds is not None:
            found.append(Announced(kind, limit, min(remaining, limit), seconds))
    return tuple(found)


def read_duration(text: str) -> float | None:
    """Seconds of a text such as "1s", "6m0s", "20ms", "1h2m3.5s" or "2.5"; None of any other.

    A number alone counts seconds; one that stands for a date since 1970 is no duration.
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        seconds = float(text)
    elif _DURATION.fullmatch(text):
        parts = _PART.findall(text)
        seconds = math.fsum(float(number) * _UNITS[unit] for number, unit in parts)
    else:
        return None
    return seconds if seconds < _LONGEST else None


def _names(
    kinds: tuple[Kind, ...], limit: str, remaining: str, reset: str
) -> Iterator[tuple[Kind, str, str, str]]:
    for kind in kinds:
        word = kind.replace("_", "-")
        yield kind, limit.format(word), remaining.format(word), reset.format(word)


_NAMES = (
    *_names(
        ("requests", "tokens"),
        "x-ratelimit-limit-{}",
        "x-ratelimit-remaining-{}",
        "x-ratelimit-reset-{}",
    ),
    *_names(
        ("requests", "tokens", "input_tokens", "output_tokens"),
        "anthropic-ratelimit-{}-limit",
        "anthropic-ratelimit-{}-remaining",
        "anthropic-ratelimit-{}-reset",
    ),
)
"""Of each kind, the headers with its limit, what remains of it, and when it is whole again."""

_UNITS = {
    "d": 86400.0,
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
}
_NUMBER = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?")
_PART = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)(d|h|ms|us|µs|ns|m|s)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")

_LONGEST = 32 * 86400.0
"""Seconds; nothing is limited by more than a month."""


def _count(text: str | None) -> float | None:
    return float(text) if text is not None and _NUMBER.fullmatch(text.strip()) else None


def _seconds_until(text: str, now: Callable[[], datetime]) -> float | None:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if time.tzinfo is None:
        return None
    seconds = max(0.0, (time - now()).total_seconds())
    return seconds if seconds < _LONGEST else None


def _least(limits: tuple[int | None, int | None]) -> int | None:
    given = [limit for limit in limits if limit is not None]
    return min(given) if given else None
