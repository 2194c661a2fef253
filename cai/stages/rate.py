"""A number for one reply: from 1 to 10, as in direct RLAIF (Lee et al. 2023, §2.2.2), or 0 to 4.

The expected rating is a reward by itself; two rated replies make a preference label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from cai.constitution import Principle
from cai.models.base import LanguageModel
from cai.records import Message, Rating, Refusal, Response, RowKey, Weighed
from cai.stages.label_maths import RATING, Scale, expected_rating, rating_shares
from cai.stages.setting import Setting
from cai.stages.weighed import weigh_options

OPTIONS = tuple(map(str, RATING.numbers))
NAMES: tuple[Literal["a", "b"], ...] = ("a", "b")
"""Of the replies, in their order."""


class Rated(NamedTuple):
    """How a judge rated one or two replies under one principle."""

    ratings: tuple[Rating, ...]
    refusals: tuple[Refusal, ...]


async def rate_replies(
    replies: Sequence[Response],
    principle: Principle,
    key: RowKey,
    *,
    judge: LanguageModel,
    setting: Setting,
    minimum_mass: float,
    scale: Scale = RATING,
) -> Rated:
    """Rate one or two replies, each by itself, under a principle that has a `rating` text.

    Args:
        replies: a, or a and b, to the same prompt.
        principle: says what is rated.
        key: the row made.
        judge: the feedback model.
        setting: constitution, templates and seed.
        minimum_mass: least total probability of the numbers, in [0, 1].
        scale: which numbers.

    Raises:
        RowEnded: the judge declined ("refused"), or gave no number ("unparsed").
    """
    questions = [rating_question(response, principle, setting, scale) for response in replies]
    weighed = await weigh_options(
        judge,
        questions,
        key,
        options=setting.prompts.answers(scale.template, tuple(map(str, scale.numbers))),
        named=f"the numbers {scale.lowest} to {scale.highest}",
        minimum_mass=minimum_mass,
    )
    return Rated(
        tuple(_rating(of, one, principle, scale) for of, one in zip(NAMES, weighed, strict=False)),
        tuple(refusal for one in weighed for refusal in one.refusals),
    )


def rating_question(
    response: Response, principle: Principle, setting: Setting, scale: Scale = RATING
) -> tuple[Message, ...]:
    """What the judge is asked about one reply; worked examples are on the scale from 1 to 10."""
    examples = {"few_shots": setting.constitution.few_shots.rating} if scale == RATING else {}
    return setting.prompts.render(
        scale.template,
        conversation=response.prompt.messages,
        response=response.text,
        principle=principle,
        **examples,
    )


def _rating(of: Literal["a", "b"], weighed: Weighed, principle: Principle, scale: Scale) -> Rating:
    shares = rating_shares(weighed.logprobs, scale)
    return Rating(
        of,
        shares,
        expected_rating(shares, scale),
        weighed.mass,
        weighed.method,
        weighed.call,
        principle.id,
    )
