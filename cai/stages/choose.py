"""The multiple-choice question between two replies, plain or after thinking aloud.

The judge is asked in both presentation orders, so that a liking for one position cancels out (Lee
et al. 2023, §2.1.1). After thinking aloud (Bai et al. 2022, §4.1) each order of each chain has
thoughts of its own, and the letter is weighed after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from cai.at_once import all_of
from cai.constitution import Principle
from cai.engine import making
from cai.models.base import LanguageModel
from cai.records import Completion, Message, OrderWeights, Refusal, Response, RowKey, Weighed
from cai.stages.labelling import Thinking
from cai.stages.setting import Setting, usable_text
from cai.stages.shots import comparison_shots, reasoning_shots
from cai.stages.weighed import weigh_options

OPTIONS = ("A", "B")

Pair = tuple[Response, Response]
First = Literal["a", "b"]
ORDERS: tuple[First, ...] = ("a", "b")
"""Which reply stands at (A)."""


class Votes(NamedTuple):
    """What a judge said of a pair under one principle, in both orders, once for each chain."""

    orders: tuple[OrderWeights, ...]
    refusals: tuple[Refusal, ...]


async def choose(
    pair: Pair,
    principle: Principle,
    key: RowKey,
    *,
    judge: LanguageModel,
    setting: Setting,
    minimum_mass: float,
) -> Votes:
    """Ask which of two replies is better under a principle, in both orders.

    Args:
        pair: replies a and b to the same prompt.
        principle: has a `comparison` text.
        key: the row made.
        judge: the feedback model.
        setting: constitution, templates and seed.
        minimum_mass: least total probability of the two answers, in [0, 1]; below it the judge
            wanted to say something else, and there is no label.

    Raises:
        RowEnded: the judge declined ("refused"), or gave no verdict ("unparsed").
    """
    questions = comparison_questions(pair, principle, key, setting)
    options = setting.prompts.answers("compare", OPTIONS)
    weighed = await _weigh(judge, questions, key, options, minimum_mass)
    orders = tuple(
        _in_terms_of_a(first, one, principle) for first, one in zip(ORDERS, weighed, strict=True)
    )
    return Votes(orders, tuple(refusal for one in weighed for refusal in one.refusals))


async def think_and_choose(
    pair: Pair,
    principle: Principle,
    key: RowKey,
    chain: int,
    *,
    judge: LanguageModel,
    setting: Setting,
    thinking: Thinking,
    minimum_mass: float,
) -> Votes:
    """Ask for thoughts first, in both orders, and then for the letter after them.

    Args:
        pair: as in `choose`.
        principle: as in `choose`; its `reasoning` text, if any, asks for the thoughts.
        key: as in `choose`.
        chain: numbers further chains of thought about the same pair, from 0.
        judge: as in `choose`.
        setting: as in `choose`.
        thinking: how the thoughts are drawn.
        minimum_mass: as in `choose`.

    Raises:
        RowEnded: as in `choose`; the thoughts were cut off ("truncated") or blank ("unparsed").
    """

    async def think(first: First) -> Completion:
        seed = setting.call_seed(key, f"reasoning {principle.id} {first} {chain}")
        question = reasoning_question(pair, first, principle, key, setting)
        sampling = setting.prompts.ending("reason", thinking.sampling)
        return await judge.complete(question, replace(sampling, seed=seed))

    with making(key, "reasoning"):
        thought = await all_of(think(first) for first in ORDERS)
    texts = [usable_text(one, key, "reasoning") for one in thought]
    questions = [
        reasoning_question(pair, first, principle, key, setting, reasoning=text)
        for first, text in zip(ORDERS, texts, strict=True)
    ]
    options = setting.prompts.answers("reason", OPTIONS)
    weighed = await _weigh(judge, questions, key, options, minimum_mass)
    orders = tuple(
        replace(
            _in_terms_of_a(first, one, principle),
            chain=chain,
            reasoning=text,
            reasoning_call=said.call,
        )
        for first, one, text, said in zip(ORDERS, weighed, texts, thought, strict=True)
    )
    return Votes(orders, tuple(refusal for one in (*thought, *weighed) for refusal in one.refusals))


def comparison_questions(
    pair: Pair, principle: Principle, key: RowKey, setting: Setting
) -> list[tuple[Message, ...]]:
    """What the judge is asked about a pair, in the presentation orders of `ORDERS`."""
    shots = comparison_shots(setting, pair[0].prompt, key)
    return [
        setting.prompts.render(
            "compare", **_shown(pair, first), principle=principle, few_shots=shots
        )
        for first in ORDERS
    ]


def reasoning_question(
    pair: Pair,
    first: First,
    principle: Principle,
    key: RowKey,
    setting: Setting,
    reasoning: str | None = None,
) -> tuple[Message, ...]:
    """What asks for thoughts about a pair or, with the thoughts, for the letter after them."""
    return setting.prompts.render(
        "reason",
        **_shown(pair, first),
        principle=principle,
        few_shots=reasoning_shots(setting, pair[0].prompt, key),
        reasoning=reasoning,
    )


async def _weigh(
    judge: LanguageModel,
    questions: Sequence[Sequence[Message]],
    key: RowKey,
    options: Sequence[str],
    minimum_mass: float,
) -> tuple[Weighed, ...]:
    return await weigh_options(
        judge, questions, key, options=options, named="(A) and (B)", minimum_mass=minimum_mass
    )


def _shown(pair: Pair, first: First) -> dict[str, object]:
    shown_a, shown_b = pair if first == "a" else (pair[1], pair[0])
    return {
        "conversation": pair[0].prompt.messages,
        "response_a": shown_a.text,
        "response_b": shown_b.text,
    }


def _in_terms_of_a(first: First, weighed: Weighed, principle: Principle) -> OrderWeights:
    at_a, at_b = weighed.logprobs
    logprob_a, logprob_b = (at_a, at_b) if first == "a" else (at_b, at_a)
    return OrderWeights(
        first,
        logprob_a,
        logprob_b,
        weighed.mass,
        weighed.method,
        weighed.call,
        principle=principle.id,
        standard_error=weighed.standard_error,
    )
