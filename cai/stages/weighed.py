"""Have a judge weigh the options of questions, or end the row without a label."""

from __future__ import annotations

from collections.abc import Sequence

from cai.engine import RowEnded, making
from cai.models.base import LanguageModel
from cai.models.roles import weigh_by_one
from cai.records import Message, RowKey, Weighed


async def weigh_options(
    judge: LanguageModel,
    questions: Sequence[Sequence[Message]],
    key: RowKey,
    *,
    options: Sequence[str],
    named: str,
    minimum_mass: float,
) -> tuple[Weighed, ...]:
    """What one and the same judge says to all questions of a label.

    Args:
        judge: the feedback model.
        questions: each a conversation.
        key: the row made.
        options: of every question.
        named: these options, for the reason: "(A) and (B)".
        minimum_mass: least total probability of the options, in [0, 1]; below it the judge wanted
            to say something else, and there is no label.

    Raises:
        RowEnded: the judge declined ("refused"), or wanted to say something else ("unparsed").
    """
    with making(key):
        weighed = await weigh_by_one(judge, questions, options)
    refusals = [refusal for one in weighed for refusal in one.refusals]
    calls = (*(refusal.call for refusal in refusals), *(one.call for one in weighed))
    if any(one.refused for one in weighed):
        who = "the judge and its fallback" if refusals else "the judge"
        raise RowEnded(key, "refused", f"{who} declined to choose from {named}", calls)
    low = min(one.mass for one in weighed)
    if low < minimum_mass:
        reason = f"the judge gave {named} {low:.3f} of its probability, under {minimum_mass}"
        raise RowEnded(key, "unparsed", reason, calls)
    return weighed
