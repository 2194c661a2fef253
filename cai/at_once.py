"""Work that is done at once, and has all ended when one part of it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

Result = TypeVar("Result")


async def all_of(work: Iterable[Awaitable[Result]]) -> list[Result]:
    """Results of work done at once, in its order.

    If parts of it fail, all others still end, and then this raises what the first of those parts
    has raised: what went on after its row has ended would buy calls that nothing uses.
    """
    parts = [asyncio.ensure_future(one) for one in work]
    await asyncio.gather(*parts, return_exceptions=True)
    return [part.result() for part in parts]
