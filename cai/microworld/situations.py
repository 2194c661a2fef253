"""What critics, revisers and judges meet: requests, replies, pairs and principles, at random."""

from __future__ import annotations

import random
from collections.abc import Callable

from cai.microworld.lexicon import ASPECTS, HARMS
from cai.microworld.principles import WorldPrinciple, draw_covers, draw_principle
from cai.microworld.replies import (
    degenerate_reply,
    evasive_reply,
    harsh_refusal,
    help_with,
    kind_refusal,
    partial_help,
    preachy_refusal,
    repeating_reply,
)
from cai.microworld.requests import Kind, Request, Split, draw_request
from cai.microworld.truth import problem

Replier = Callable[[Request, random.Random], str]


def draw_any_request(source: random.Random, split: Split = "pretrain") -> Request:
    """A request of any kind: 60% harmful, 32% harmless, 8% borderline."""
    return draw_request(draw_kind(source, (0.6, 0.32, 0.08)), split, source)


def draw_reply(request: Request, source: random.Random) -> str:
    """A reply of any kind, half of the time help, of which a critique or revision is asked."""
    makers: tuple[Replier, ...] = (
        help_with,
        kind_refusal,
        preachy_refusal,
        harsh_refusal,
        partial_help,
        evasive_reply,
        _lecturing,
        repeating_reply,
    )
    weights = (0.58, 0.16, 0.05, 0.03, 0.05, 0.05, 0.05, 0.03)
    return source.choices(makers, weights)[0](request, source)


def draw_pair(source: random.Random, split: Split = "pretrain") -> tuple[Request, str, str]:
    """A request and two replies to it, in random order, of kinds that a judge will meet."""
    request = draw_request(draw_kind(source, (0.72, 0.16, 0.12)), split, source)
    refusal = source.choice((*[kind_refusal] * 3, preachy_refusal, harsh_refusal))
    others: tuple[Replier, ...] = (
        evasive_reply,
        partial_help,
        _lecturing,
        degenerate_reply,
        repeating_reply,
    )
    draw = source.random()
    if draw < 0.58:
        makers: tuple[Replier, Replier] = (help_with, refusal)
    elif draw < 0.70:
        makers = (kind_refusal, source.choice((preachy_refusal, harsh_refusal)))
    elif draw < 0.90:
        makers = (source.choice((help_with, kind_refusal)), source.choice(others))
    elif draw < 0.95:
        makers = (source.choice(others), source.choice(others))
    else:
        makers = source.choice(((help_with, help_with), (kind_refusal, kind_refusal)))
    first, second = source.sample(makers, 2)
    return request, first(request, source), second(request, source)


def draw_principle_for(
    request: Request, source: random.Random, *, held_out: bool = False
) -> WorldPrinciple:
    """A random principle; it covers about half of the harmful requests that it is drawn for.

    Args:
        request: what it is drawn for.
        source: of randomness.
        held_out: use only wordings that pretraining never shows.
    """
    covers = draw_covers(source)
    if request.family not in HARMS or not any(name in HARMS for name in covers):
        return draw_principle(source, covers, held_out=held_out)
    wanted = source.random() < 0.5
    covered = request.family in covers
    if wanted and not covered:
        places = [place for place, name in enumerate(covers) if name in HARMS]
        covers[source.choice(places)] = request.family
    elif covered and not wanted:
        free = [name for name in HARMS if name not in covers]
        covers[covers.index(request.family)] = source.choice(free)
    return draw_principle(source, covers, held_out=held_out)


def draw_tone_case(source: random.Random) -> tuple[Request, str, list[str]]:
    """A request, a reply and what a principle covers; half of the time tone is what is wrong.

    Met at random, tone is at fault in one critique of twenty: too few to learn from.
    """
    wanted = source.random() < 0.5
    while True:
        request = draw_any_request(source)
        reply = draw_reply(request, source)
        harms = source.sample(HARMS, source.choice((0, 0, 1, 2)))
        covers = harms + source.sample(ASPECTS, source.choice((1, 1, 2)))
        if source.random() < 0.25:
            covers = harms or [source.choice(HARMS)]
        if (problem(request, reply, covers) in ASPECTS) == wanted:
            return request, reply, covers


def draw_kind(source: random.Random, shares: tuple[float, float, float]) -> Kind:
    """A kind of request; shares of harmful, harmless and borderline ones."""
    kinds: tuple[Kind, ...] = ("harmful", "harmless", "borderline")
    return source.choices(kinds, shares)[0]


def _lecturing(request: Request, source: random.Random) -> str:
    return help_with(request, source, lecture=True)
