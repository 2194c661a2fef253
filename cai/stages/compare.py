"""Preference labels: which of two replies is better under sampled principles.

Bai et al. (2022), §4.1 and §4.3, and Lee et al. (2023), §2.1 and §2.2.2, in the ways that
`cai.stages.labelling` names. The label stays a probability.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from cai.at_once import all_of
from cai.constitution import Principle
from cai.engine import RowEnded
from cai.models.base import LanguageModel
from cai.records import Comparison, OrderWeights, Refusal, RowKey
from cai.stages.choose import Pair, Votes, choose, think_and_choose
from cai.stages.label_maths import (
    clamped,
    mean_probability,
    orders_agree,
    preference,
    rated_preference,
)
from cai.stages.labelling import Labelling
from cai.stages.rate import rate_replies
from cai.stages.setting import Setting

ORDERS_DISAGREE = "the two orders disagree"
"""How the reason begins of a pair that the judge was asked about and gave no label."""


async def compare(
    pair: Pair, key: RowKey, *, judge: LanguageModel, setting: Setting, labelling: Labelling
) -> Comparison:
    """Label two replies under principles drawn for them.

    Args:
        pair: replies a and b to the same prompt.
        key: the row made; its sample takes part in the draw.
        judge: the feedback model.
        setting: constitution, templates and seed.
        labelling: how.

    Raises:
        RowEnded: both replies are the same, no principle applies to the prompt, or no orders agree
            ("filtered"); the judge declined ("refused"), gave no verdict ("unparsed"), or its
            thoughts were cut off ("truncated").
        InputError: the constitution has fewer principles with such a text than are asked for.
    """
    if pair[0].text == pair[1].text:
        raise RowEnded(key, "filtered", "both replies are identical")
    stage = "comparison" if labelling.way == "choice" else "rating"
    principles = setting.draw_many(
        stage, labelling.principles, pair[0].prompt, key, round_number=key.sample
    )
    return await compare_under(
        principles, pair, key, judge=judge, setting=setting, labelling=labelling
    )


async def compare_under(
    principles: Sequence[Principle],
    pair: Pair,
    key: RowKey,
    *,
    judge: LanguageModel,
    setting: Setting,
    labelling: Labelling,
) -> Comparison:
    """Label two replies under given principles; otherwise as `compare`."""
    if labelling.way == "rating":
        return await _by_rating(principles, pair, key, judge, setting, labelling)
    votes = await _vote(principles, pair, key, judge, setting, labelling)
    orders = tuple(order for vote in votes for order in vote.orders)
    p_a = mean_probability(_counted(votes, key, labelling))
    refusals = tuple(refusal for vote in votes for refusal in vote.refusals)
    template = "compare" if labelling.thinking is None else "reason"
    return Comparison(
        **_about(pair, principles, judge, refusals),
        p_a=clamped(p_a, labelling.clamp),
        orders=orders,
        provenance=_provenance(pair, setting, template),
    )


async def _vote(
    principles: Sequence[Principle],
    pair: Pair,
    key: RowKey,
    judge: LanguageModel,
    setting: Setting,
    labelling: Labelling,
) -> list[Votes]:
    """What the judge says under each principle, once or for each chain of thought."""
    thinking, mass = labelling.thinking, labelling.minimum_mass
    if thinking is None:
        asked = (
            choose(pair, one, key, judge=judge, setting=setting, minimum_mass=mass)
            for one in principles
        )
    else:
        asked = (
            think_and_choose(
                pair,
                one,
                key,
                chain,
                judge=judge,
                setting=setting,
                thinking=thinking,
                minimum_mass=mass,
            )
            for one in principles
            for chain in range(thinking.chains)
        )
    return await all_of(asked)


def _counted(votes: Sequence[Votes], key: RowKey, labelling: Labelling) -> list[float]:
    """P(a is better) of every vote that counts: the mean of its two orders.

    Raises:
        RowEnded: orders must agree, and none do.
    """
    both = [[preference(one.logprob_a, one.logprob_b) for one in vote.orders] for vote in votes]
    if labelling.orders == "agree":
        agreed = [p for p in both if orders_agree(*p)]
        if not agreed:
            first, second = both[0]
            told = f"p(a) is {first:.3f} with a at (A) and {second:.3f} with b there"
            calls = _calls(order for vote in votes for order in vote.orders)
            raise RowEnded(key, "filtered", f"{ORDERS_DISAGREE}: {told}", calls)
        both = agreed
    return [mean_probability(p) for p in both]


def calls_of(label: Comparison) -> tuple[str, ...]:
    """The ledger's keys of all that a judge was asked for a label: answers first, then thoughts."""
    return (*_calls(label.orders), *(rating.call for rating in label.ratings))


def _calls(orders: Iterable[OrderWeights]) -> tuple[str, ...]:
    listed = tuple(orders)
    thoughts = (order.reasoning_call for order in listed if order.reasoning_call)
    return (*(order.call for order in listed), *thoughts)


async def _by_rating(
    principles: Sequence[Principle],
    pair: Pair,
    key: RowKey,
    judge: LanguageModel,
    setting: Setting,
    labelling: Labelling,
) -> Comparison:
    rated = await all_of(
        rate_replies(
            pair,
            one,
            key,
            judge=judge,
            setting=setting,
            minimum_mass=labelling.minimum_mass,
            scale=labelling.scale,
        )
        for one in principles
    )
    both = [[rating.shares for rating in one.ratings] for one in rated]
    votes = [rated_preference(a, b, labelling.scale) for a, b in both]
    refusals = tuple(refusal for one in rated for refusal in one.refusals)
    return Comparison(
        **_about(pair, principles, judge, refusals),
        p_a=clamped(mean_probability(votes), labelling.clamp),
        ratings=tuple(rating for one in rated for rating in one.ratings),
        provenance=_provenance(pair, setting, labelling.scale.template),
    )


def _about(
    pair: Pair, principles: Sequence[Principle], judge: LanguageModel, refusals: tuple[Refusal, ...]
) -> dict[str, Any]:
    a, b = pair
    return {
        "prompt": a.prompt,
        "response_a": a.text,
        "response_b": b.text,
        "principle": " + ".join(principle.id for principle in principles),
        "source": "ai",
        "model": refusals[-1].answered_by if refusals else judge.identity,
        "refusals": refusals,
    }


def _provenance(pair: Pair, setting: Setting, template: str) -> dict[str, Any]:
    a, b = pair
    declined = [asdict(refusal) for reply in (a, b) for refusal in reply.refusals]
    return {
        **({"refusals": declined} if declined else {}),
        "constitution": setting.constitution.hash,
        "template": setting.prompts.templates[template].hash,
        "responder": a.model,
        "call_a": a.call,
        "call_b": b.call,
        "sample_a": a.sample,
        "sample_b": b.sample,
        "seed": setting.seed,
    }
