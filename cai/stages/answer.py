"""A multiple-choice question about a conversation, with the options in two orders.

So are asked the paper's harmful-or-ethical and harm-type questions (Bai et al. 2022, §4.1, App. B):
a judge is measured by them, and no preference label is made.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

from cai.models.base import LanguageModel
from cai.records import Message, Refusal, RowKey, Weighed, WeighMethod
from cai.stages.label_maths import mean_probability, option_shares
from cai.stages.setting import Setting
from cai.stages.weighed import weigh_options

MOST_OPTIONS = len(string.ascii_uppercase)


@dataclass(frozen=True)
class ChoiceQuestion:
    """A question whose right answer is known.

    Args:
        conversation: what it is about.
        question: in words.
        options: what can be answered, at least two.
        right: place of the right one.
        source: name of the file that it comes from.
    """

    conversation: tuple[Message, ...]
    question: str
    options: tuple[str, ...]
    right: int
    source: str


@dataclass(frozen=True)
class OptionOrder:
    """What the judge said with the options in one order.

    Args:
        shown: places of the options, in the order in which they had the letters A, B, …
        shares: normalised probabilities of the options, by their places.
        logprobs: natural log-probabilities of the letters, in their order.
        mass: total probability of the letters.
        method: how the log-probabilities were had.
        call: the ledger's key.
    """

    shown: tuple[int, ...]
    shares: tuple[float, ...]
    logprobs: tuple[float, ...]
    mass: float
    method: WeighMethod
    call: str


@dataclass(frozen=True)
class Answer:
    """What a judge answered.

    Args:
        question: what was asked.
        shares: mean probabilities of the options over both orders, by their places.
        orders: as asked.
        model: the judge.
        refusals: of judges that were asked before `model` and declined.
    """

    question: ChoiceQuestion
    shares: tuple[float, ...]
    orders: tuple[OptionOrder, ...]
    model: str
    refusals: tuple[Refusal, ...] = ()


async def answer_question(
    question: ChoiceQuestion,
    key: RowKey,
    *,
    judge: LanguageModel,
    setting: Setting,
    minimum_mass: float,
) -> Answer:
    """Ask a question with its options as they stand, and with them from last to first.

    Args:
        question: with at most 26 options.
        key: the row made.
        judge: who answers.
        setting: the templates; no principle takes part.
        minimum_mass: least total probability of the letters, in [0, 1].

    Raises:
        RowEnded: the judge declined ("refused"), or gave no letter ("unparsed").
    """
    letters = tuple(string.ascii_uppercase[: len(question.options)])
    forth = tuple(range(len(letters)))
    shown = (forth, forth[::-1])
    asked = [option_question(question, order, setting) for order in shown]
    weighed = await weigh_options(
        judge,
        asked,
        key,
        options=setting.prompts.answers("answer", letters),
        named=f"the letters A to {letters[-1]}",
        minimum_mass=minimum_mass,
    )
    orders = tuple(_order(*both) for both in zip(shown, weighed, strict=True))
    refusals = tuple(refusal for one in weighed for refusal in one.refusals)
    return Answer(
        question,
        tuple(mean_probability([order.shares[place] for order in orders]) for place in forth),
        orders,
        refusals[-1].answered_by if refusals else judge.identity,
        refusals,
    )


def option_question(
    question: ChoiceQuestion, shown: tuple[int, ...], setting: Setting
) -> tuple[Message, ...]:
    """What the judge is asked, with the options in the order of these places."""
    letters = string.ascii_uppercase[: len(shown)]
    options = {
        letter: question.options[place] for letter, place in zip(letters, shown, strict=True)
    }
    return setting.prompts.render(
        "answer",
        conversation=question.conversation,
        question=question.question,
        options=options,
    )


def _order(shown: tuple[int, ...], weighed: Weighed) -> OptionOrder:
    by_letter = option_shares(weighed.logprobs)
    by_place = tuple(by_letter[shown.index(place)] for place in range(len(shown)))
    return OptionOrder(
        shown, by_place, weighed.logprobs, weighed.mass, weighed.method, weighed.call
    )
