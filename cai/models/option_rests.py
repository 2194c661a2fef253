"""Options of several tokens, from a server that lists the likeliest tokens of one place alone.

Where "1" is listed and "10" is not, the model is asked what comes after "1".
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from cai.at_once import all_of
from cai.models.weighing import LOWEST, top_spellings
from cai.records import Weighed

WORTH_ASKING = 0.01
"""A token's probability from which on its continuation is asked for; under it, no option can be
mistaken by more."""

WeighAfter = Callable[[str, Sequence[str]], Awaitable[Weighed]]
"""Weighs options after a text with which the reply begins."""


class Beginning(NamedTuple):
    """A token with which options begin.

    Args:
        text: of the token, leading spaces aside.
        p: its probability.
        rests: what is left of these options, by their places.
    """

    text: str
    p: float
    rests: dict[int, str]


def beginnings(top: Sequence[tuple[str, float]], options: Sequence[str]) -> list[Beginning]:
    """The listed tokens with which options begin that are not listed themselves.

    Args:
        top: texts of tokens with their natural log-probabilities.
        options: texts that the reply may begin with.
    """
    shares: dict[str, float] = {}
    for token, logprob in top:
        text = token.lstrip(" ")
        shares[text] = shares.get(text, 0.0) + math.exp(logprob)
    listed = top_spellings(top, options)
    begun = [
        (text, p, _rests(text, options, listed))
        for text, p in shares.items()
        if text and p >= WORTH_ASKING
    ]
    return [Beginning(text, p, rests) for text, p, rests in begun if rests]


async def weigh_rests(
    first: Weighed, top: Sequence[tuple[str, float]], options: Sequence[str], weigh: WeighAfter
) -> Weighed:
    """Have what comes after a listed token weighed, for options that go on from it.

        p(option) = Σ p(token) p(rest | token)

    Where the token reads as an option itself, what goes on to be a longer one is taken from it.

    Args:
        first: the options as they are bounded by the likeliest first tokens.
        top: these tokens, with their natural log-probabilities.
        options: as asked.
        weigh: asks for what comes after a token.
    """
    begun = beginnings(top, options)
    said = await all_of(weigh(one.text, list(one.rests.values())) for one in begun)
    if any(one.refused for one in said):
        return replace(first, logprobs=(), mass=0.0, refused=True)
    listed = top_spellings(top, options)
    found = [0.0 if logprob is None else math.exp(logprob) for logprob in listed]
    total = first.mass
    for (text, p, rests), after in zip(begun, said, strict=True):
        total += p * after.mass
        for place, logprob in zip(rests, after.logprobs, strict=True):
            found[place] += p * math.exp(logprob)
        for place, option in enumerate(options):
            if option.lstrip(" ") == text:
                found[place] -= p * after.mass
                total -= p * after.mass
    asked = {place for one in begun for place in one.rests}
    logprobs = tuple(
        bound if logprob is None and place not in asked else _log(found[place])
        for place, (bound, logprob) in enumerate(zip(first.logprobs, listed, strict=True))
    )
    usage = sum((one.usage for one in said), first.usage)
    return replace(first, logprobs=logprobs, mass=min(1.0, total), usage=usage)


def _rests(text: str, options: Sequence[str], listed: Sequence[float | None]) -> dict[int, str]:
    """What is left, after a text, of the unlisted options that begin with it."""
    wanted = [option.lstrip(" ") for option in options]
    return {
        place: option[len(text) :]
        for place, option in enumerate(wanted)
        if listed[place] is None and option.startswith(text) and option != text
    }


def _log(p: float) -> float:
    return max(LOWEST, math.log(p)) if p > 0 else LOWEST
