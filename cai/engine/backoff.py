"""How long to wait before a call is tried again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """How long to wait before a next try: exponential, capped, with full jitter.

    Args:
        first: longest wait before the second try, in seconds; it doubles with every try.
        longest: of any wait that the provider did not ask for, in seconds.
        sleep: waits a number of seconds.
        draw: a number between two, uniformly; full jitter keeps rows that failed together from
            coming back together.
    """

    first: float = 1.0
    longest: float = 60.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    draw: Callable[[float, float], float] = random.uniform

    def wait(self, failed: int, retry_after: float | None) -> float:
        """Seconds to wait after the try of this number failed; never less than was asked for."""
        jitter = self.draw(0.0, min(self.longest, self.first * 2 ** (failed - 1)))
        return jitter if retry_after is None else retry_after + min(jitter, self.first)
