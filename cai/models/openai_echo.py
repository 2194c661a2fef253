"""Options weighed exactly, where a server tells the log-probabilities of a prompt's own tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cai.at_once import all_of
from cai.models.chat_wire import read_usage
from cai.models.openai_completions import CompletionsInterface
from cai.models.weighing import bounded_by_top_k, mass, top_spellings
from cai.records import Usage, Weighed

Post = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Sends a body and gives the object of a successful answer."""


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
    """Options among the likeliest first tokens as they are listed, each other one by a call more.

    An option that reads as single tokens has the probability of all of them that are listed; any
    other that of its own tokens one after the other. One that cannot be told from the prompt, since
    a token is part of both, gets an upper bound as in `bounded_by_top_k`.

    Args:
        interface: makes and reads the calls.
        post: sends them.
        weighing: what is known already.
        model: the name to give if the server reports none.
    """
    body, options, answer = weighing
    top = interface.first_token(answer)

    async def read(option: str, listed: float | None) -> tuple[float | None, Usage]:
        if listed is not None:
            return listed, Usage()
        echoed = await post(interface.echoing(body, option))
        logprob = interface.option_logprob(echoed, body["prompt"], option)
        return logprob, read_usage(echoed)

    found = await all_of(map(read, options, top_spellings(top, options)))
    usage = sum((used for _, used in found), read_usage(answer))
    known = [logprob for logprob, _ in found if logprob is not None]
    named = str(answer.get("model") or model)
    if len(known) == len(options):
        return Weighed(tuple(known), mass(known), "exact", usage, named)
    bounded, _, _ = bounded_by_top_k(top, options)
    logprobs = tuple(
        bound if logprob is None else logprob
        for bound, (logprob, _) in zip(bounded, found, strict=True)
    )
    return Weighed(logprobs, mass(known), "top_k", usage, named)
