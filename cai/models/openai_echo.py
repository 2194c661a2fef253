"""Options weighed exactly, where a server tells the log-probabilities of a prompt's own tokens."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cai.at_once import all_of
from cai.models.chat_wire import read_usage
from cai.models.openai_completions import CompletionsInterface
from cai.models.option_rests import WORTH_ASKING
from cai.models.weighing import (
    bounded_by_top_k,
    likeliest,
    logsumexp,
    mass,
    other_than,
    weighed_by_paths,
)
from cai.records import Usage, Weighed

Post = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Sends a body and gives the object of a successful answer."""

Spellings = Mapping[tuple[str, ...], float]
"""Texts of tokens in their order, with the natural log-probability of all of them."""


class Weighing(NamedTuple):
    """What was asked to weigh options, and what came of it.

    Args:
        body: asked for one token and the likeliest ones.
        options: texts that the reply may begin with.
        answer: to that, with at least one token listed.
    """

    body: Mapping[str, Any]
    options: Sequence[str]
    answer: Mapping[str, Any]


async def weigh_exactly(
    interface: CompletionsInterface, post: Post, weighing: Weighing, model: str
) -> Weighed:
    """Options among the likeliest first tokens as they are listed, others by calls of their own.

    An option that reads as single tokens has the probability of all of them that are listed; any
    other that of its own tokens one after the other, without a space before it and with one, which
    is asked for of listed options too where a space is a token by itself. An option that cannot be
    told from the prompt, since a token is part of both, gets an upper bound (`bounded_by_top_k`).

    Args:
        interface: makes and reads the calls.
        post: sends them.
        weighing: what is known already.
        model: the name to give if the server reports none.
    """
    body, options, answer = weighing
    top = interface.first_token(answer)
    spaced = any(
        token and not token.strip(" ") and math.exp(logprob) >= WORTH_ASKING
        for token, logprob in top
    )

    async def echoed(text: str) -> tuple[Spellings, Usage]:
        said = await post(interface.echoing(body, text))
        tokens = interface.option_tokens(said, body["prompt"], text) or ()
        spelled = {tuple(token for token, _ in tokens): math.fsum(p for _, p in tokens)}
        return spelled if tokens else {}, read_usage(said)

    async def read(option: str) -> tuple[Spellings, Usage]:
        text, found = option.lstrip(" "), _listed(top, option)
        asked = [*([] if found else [text]), *([] if found and not spaced else [f" {text}"])]
        answers = await all_of(map(echoed, asked))
        for spelled, _ in answers:
            found = {**spelled, **found}
        return found, sum((used for _, used in answers), Usage())

    spellings = await all_of(map(read, options))
    usage = sum((used for _, used in spellings), read_usage(answer))
    named, others = str(answer.get("model") or model), other_than(likeliest(top), options)
    known = [found for found, _ in spellings if found]
    chains = {path: logprob for found in known for path, logprob in found.items()}
    exact = iter(weighed_by_paths([list(found) for found in known], chains) if known else ())
    if len(known) == len(options):
        logprobs = tuple(exact)
        return Weighed(logprobs, mass(logprobs), "exact", usage, named, others=others)
    bounds, _, _ = bounded_by_top_k(top, options)
    logprobs = tuple(
        next(exact) if found else bound for bound, (found, _) in zip(bounds, spellings, strict=True)
    )
    sure = [p for p, (found, _) in zip(logprobs, spellings, strict=True) if found]
    return Weighed(logprobs, mass(sure), "top_k", usage, named, others=others)


def _listed(top: Sequence[tuple[str, float]], option: str) -> Spellings:
    """The listed single tokens that read as an option; several tokens may read alike."""
    spelled: dict[tuple[str, ...], float] = {}
    for token, logprob in top:
        if token.lstrip(" ") == option.lstrip(" "):
            before = spelled.get((token,), -math.inf)
            spelled[(token,)] = logsumexp([before, logprob])
    return spelled
