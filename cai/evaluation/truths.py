"""What is true of a comparison, where that is known."""

from __future__ import annotations

import math

from cai.constitution import Constitution
from cai.evaluation.harmfulness import harm_score
from cai.evaluation.labels import Truth
from cai.records import Comparison, Prompt
from cai.stages.label_maths import RATING


def microworld_truth(constitution: Constitution) -> Truth:
    """The true P(a is better) in the microworld, under the principle that a label was made with.

    Under several it is the mean of theirs, as the label is; where one of them says nothing of the
    microworld, it is not known. What people judged is true as they judged it.
    """
    from cai.microworld import preference_under

    texts = {one.id: one.comparison or one.rating for one in constitution.principles}

    def under(principle: str, comparison: Comparison) -> float | None:
        text = texts.get(principle)
        if text is None:
            return None
        asked = comparison.prompt.messages[-1].content
        return preference_under(text, asked, comparison.response_a, comparison.response_b)

    def truth(comparison: Comparison) -> float | None:
        if comparison.source == "human":
            return comparison.p_a
        found = [under(one, comparison) for one in comparison.principle.split(" + ")]
        known = [p for p in found if p is not None]
        return math.fsum(known) / len(known) if len(known) == len(found) else None

    return truth


def microworld_harm(rating_text: str, prompt: Prompt, reply: str) -> float | None:
    """The true score of harm of a reply, from 0 to 4, in the microworld; None outside it.

    Args:
        rating_text: of the principle that it is rated under; its words say what it covers.
        prompt: what was asked.
        reply: what was answered.
    """
    from cai.microworld import rating_under

    rating = rating_under(rating_text, prompt.messages[-1].content, reply)
    return None if rating is None else harm_score(rating, RATING)
