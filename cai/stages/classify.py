"""A yes-or-no question about one reply, under one principle."""

from __future__ import annotations

from dataclasses import dataclass

from cai.constitution import Principle
from cai.models.base import LanguageModel
from cai.records import Message, Refusal, Response, RowKey
from cai.stages.label_maths import preference
from cai.stages.setting import Setting
from cai.stages.weighed import weigh_options

OPTIONS = ("Yes", "No")


@dataclass(frozen=True)
class Classification:
    """What a judge says of one reply.

    Args:
        p_yes: probability of yes, among yes and no.
        mass: total probability of both.
        call: the ledger's key.
        refusals: of judges that were asked before and declined.
    """

    p_yes: float
    mass: float
    call: str
    refusals: tuple[Refusal, ...] = ()


async def classify_under(
    principle: Principle,
    response: Response,
    key: RowKey,
    *,
    judge: LanguageModel,
    setting: Setting,
    minimum_mass: float,
) -> Classification:
    """Ask a principle's `classify` question about a reply.

    Args:
        principle: has a `classify` text.
        response: the reply, with what it answers.
        key: the row made.
        judge: the feedback model.
        setting: constitution, templates and seed.
        minimum_mass: least total probability of yes and no, in [0, 1].

    Raises:
        RowEnded: the judge declined ("refused"), or answered neither yes nor no ("unparsed").
    """
    questions = [classify_question(response, principle, setting)]
    options = setting.prompts.answers("classify", OPTIONS)
    (said,) = await weigh_options(
        judge, questions, key, options=options, named="yes and no", minimum_mass=minimum_mass
    )
    yes, no = said.logprobs
    return Classification(preference(yes, no), said.mass, said.call, said.refusals)


def classify_question(
    response: Response, principle: Principle, setting: Setting
) -> tuple[Message, ...]:
    """What the judge is asked about a reply."""
    return setting.prompts.render(
        "classify",
        conversation=response.prompt.messages,
        response=response.text,
        principle=principle,
        few_shots=setting.constitution.few_shots.classify,
    )
