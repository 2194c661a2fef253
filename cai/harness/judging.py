"""The judge of a recipe, for replies that another program has had a model write.

The questions are those of a run: a number from 1 to 10 (Lee et al. 2023, §2.2.2), a yes or no, or
which of two replies is better, in both orders (Bai et al. 2022, §4.1). Every answer is bought once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import Any, Literal

from cai.at_once import all_of
from cai.constitution import Constitution, Principle, Stage
from cai.constitution.draw import draw_many
from cai.engine import RowEnded
from cai.errors import Fault, InputError
from cai.label_settings import LabelSettings
from cai.pipeline.studio import Studio
from cai.records import Response, RowKey
from cai.stages.classify import classify_under
from cai.stages.compare import calls_of, compare, compare_under
from cai.stages.rate import rate_replies

Way = Literal["rating", "classify", "comparison"]

STAGE = "judged"
"""Of the keys under which principles and seeds are drawn; no rows are kept."""


@dataclass(frozen=True)
class Asked:
    """How a judge is asked.

    Args:
        way: for a rating from 1 to 10, P(yes) to the principle's `classify` question, or
            P(the reply is better than a reference).
        principle: the id of the only one to ask under; None: those that are drawn for the prompt,
            as many as the recipe's ``comparisons.label.principles`` (of `classify`: one).
    """

    way: Way
    principle: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What a judge says of one reply.

    Args:
        value: a rating in [1, 10], or a probability.
        principle: ids of the principles that it was asked under, joined with " + ".
        told: the value in words.
        details: how it was had, and the ledger's keys of the calls.
    """

    value: float
    principle: str
    told: str
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


def check_asked(constitution: Constitution, asked: Asked, label: LabelSettings) -> None:
    """Make sure that there is something to ask.

    Args:
        constitution: of the recipe.
        asked: how.
        label: how the recipe labels pairs.

    Raises:
        InputError: the named principle is unknown or has no such text, or fewer than are to be
            drawn have one.
    """
    stage: Stage = asked.way
    if asked.way == "comparison" and label.way == "rating":
        stage = "rating"
    if asked.principle is None:
        m = 1 if asked.way == "classify" else label.principles
        draw_many(constitution, stage, m, seed=0, prompt_id="", round=0)
        return
    named = constitution.principle(asked.principle)
    if stage not in named.stages:
        fault = Fault(f"has no {stage} text; write one, or name another principle or way")
        raise InputError(f"{constitution.id}: {named.id}", [fault])


async def judge_reply(
    studio: Studio, reply: Response, asked: Asked, reference: str | None = None
) -> Verdict:
    """Ask the studio's judge about one reply.

    Args:
        studio: whose judge, fallback, constitution, templates and way of labelling are used.
        reply: to be judged; its sample takes part in the draw of principles.
        asked: how.
        reference: the other reply, of a comparison.

    Raises:
        RowEnded: there is no verdict: the judge declined ("refused"), answered something else
            ("unparsed"), or the reply is blank ("unparsed"), the reference itself, one to which no
            principle applies, or to be compared with a blank reference ("filtered").
        CaiError: what stops a run as well; everything bought is kept.
    """
    key = RowKey(STAGE, reply.prompt.id, sample=reply.sample)
    if not reply.text.strip():
        raise RowEnded(key, "unparsed", "the reply is blank")
    if asked.way == "rating":
        return await _rated(studio, reply, asked, key)
    if asked.way == "classify":
        return await _classified(studio, reply, asked, key)
    if reference is None or not reference.strip():
        raise RowEnded(key, "filtered", "there is no reply to compare with")
    return await _compared(studio, reply, asked, key, reference)


async def _rated(studio: Studio, reply: Response, asked: Asked, key: RowKey) -> Verdict:
    settings = studio.recipe.comparisons
    principles = _principles(studio, reply, asked, key, settings.label.principles)
    rated = await all_of(
        rate_replies(
            [reply],
            principle,
            key,
            judge=studio.model("judge", key),
            setting=studio.setting,
            minimum_mass=settings.minimum_mass,
        )
        for principle in principles
    )
    ratings = [one.ratings[0] for one in rated]
    value = fmean(rating.expected for rating in ratings)
    details = {
        "mass": min(rating.mass for rating in ratings),
        "method": ratings[0].method,
        "calls": [rating.call for rating in ratings],
        "declined": sum(len(one.refusals) for one in rated),
    }
    return Verdict(value, _ids(principles), f"rated {value:.2f} of 10", details)


async def _classified(studio: Studio, reply: Response, asked: Asked, key: RowKey) -> Verdict:
    (principle,) = _principles(studio, reply, asked, key, 1)
    said = await classify_under(
        principle,
        reply,
        key,
        judge=studio.model("judge", key),
        setting=studio.setting,
        minimum_mass=studio.recipe.comparisons.minimum_mass,
    )
    told = f"yes with a probability of {said.p_yes:.3f} to: {principle.classify}"
    details = {"mass": said.mass, "calls": [said.call], "declined": len(said.refusals)}
    return Verdict(said.p_yes, principle.id, told, details)


async def _compared(
    studio: Studio, reply: Response, asked: Asked, key: RowKey, reference: str
) -> Verdict:
    settings, setting = studio.recipe.comparisons, studio.setting
    pair = (reply, Response(reply.prompt, reference, 0, "", ""))
    ask = compare
    if asked.principle is not None and reply.text != reference:
        ask = partial(compare_under, [setting.constitution.principle(asked.principle)])
    label = await ask(
        pair,
        key,
        judge=studio.model("judge", key),
        setting=setting,
        labelling=settings.label.labelling(settings.minimum_mass),
    )
    told = f"better than the reference with a probability of {label.p_a:.3f}"
    details = {"calls": list(calls_of(label)), "declined": len(label.refusals)}
    return Verdict(label.p_a, label.principle, told, details)


def _principles(
    studio: Studio, reply: Response, asked: Asked, key: RowKey, drawn: int
) -> tuple[Principle, ...]:
    if asked.principle is not None:
        return (studio.setting.constitution.principle(asked.principle),)
    setting = studio.setting
    return setting.draw_many(asked.way, drawn, reply.prompt, key, round_number=key.sample)


def _ids(principles: tuple[Principle, ...]) -> str:
    return " + ".join(principle.id for principle in principles)
