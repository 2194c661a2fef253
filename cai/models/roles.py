"""A model as a role asks it: with the role's own sampling, and its refusals sent to a fallback.

A refusal is recognised by the provider's own sign (a stop reason, a refusal field, a content
filter) or, where the recipe asks for it, by the wording of the reply. What a model said stays in
the ledger as what it is; the fallback's answer is a call of its own, under its own key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field

from cai.at_once import all_of
from cai.models.base import LanguageModel
from cai.records import Completion, Message, Refusal, RefusalSign, Sampling, Weighed

IsRefusal = Callable[[str], bool]
"""Whether a reply is worded as a refusal."""


class RoleSampling(BaseModel):
    """How a role draws its replies where that is not as its stage says; what is None stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float | None = Field(
        default=None, ge=0, description="Of the softmax; 0: always the likeliest token."
    )
    top_p: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Only the likeliest tokens of so much probability.",
    )
    max_tokens: int | None = Field(
        default=None, ge=1, description="Longest reply; longer are cut off."
    )
    stop: tuple[str, ...] | None = Field(
        default=None, description="Texts that end a reply and are no part of it."
    )

    def over(self, sampling: Sampling) -> Sampling:
        """A stage's sampling, with the role's own in the places where it has some."""
        return replace(sampling, **self.model_dump(exclude_none=True))


@dataclass(frozen=True)
class ModelInRole:
    """A `LanguageModel` that plays a role.

    Args:
        model: the one that plays it.
        wording: recognises refusals by their wording; None: by the provider's own sign alone.
        sampling: the role's own; None: that of the stage.
        fallback: answers in the place of a refusal; None: the refusal stays the answer.
    """

    model: LanguageModel
    wording: IsRefusal | None = None
    sampling: RoleSampling | None = None
    fallback: LanguageModel | None = None

    @property
    def identity(self) -> str:
        """The identity of the model that plays the role."""
        return self.model.identity

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Sample one reply, or the fallback's; as `LanguageModel.complete`."""
        own = sampling if self.sampling is None else self.sampling.over(sampling)
        said = await self.model.complete(messages, own)
        sign = self._sign_in(said)
        if sign is None:
            return said
        if self.fallback is None:
            return replace(said, stop_reason="refusal")
        answer = await self.fallback.complete(messages, sampling)
        return replace(answer, refusals=(self._refusal(said.call, sign), *answer.refusals))

    async def weigh(self, messages: Sequence[Message], options: Sequence[str]) -> Weighed:
        """Weigh the options, or have the fallback do so; as `LanguageModel.weigh`."""
        said = await self.model.weigh(messages, options)
        sign = self._sign_in_label(said)
        if sign is None:
            return said
        if self.fallback is None:
            return replace(said, refused=True)
        answer = await self.fallback.weigh(messages, options)
        return replace(answer, refusals=(self._refusal(said.call, sign), *answer.refusals))

    async def close(self) -> None:
        """Close both models."""
        await self.model.close()
        if self.fallback is not None:
            await self.fallback.close()

    def _sign_in(self, said: Completion) -> RefusalSign | None:
        if said.stop_reason == "refusal":
            return "stop_reason"
        return "wording" if self.wording is not None and self.wording(said.text) else None

    def _sign_in_label(self, said: Weighed) -> RefusalSign | None:
        if said.refused:
            return "stop_reason"
        if self.wording is None or not said.samples:
            return None
        worded = sum(self.wording(text) for text in said.others)
        return "wording" if 2 * worded > said.samples else None

    def _refusal(self, call: str, sign: RefusalSign) -> Refusal:
        assert self.fallback is not None, "a refusal that stays the answer is no `Refusal`"
        return Refusal(self.identity, call, sign, answered_by=self.fallback.identity)


async def weigh_by_one(
    judge: LanguageModel, questions: Sequence[Sequence[Message]], options: Sequence[str]
) -> tuple[Weighed, ...]:
    """Weigh the options of several questions that one and the same judge must answer.

    The two orders of a pair cancel a judge's liking for a position only if both are its own. So if
    a judge declines some of the questions, its fallback answers all of them.

    Args:
        judge: a model, or one in a role.
        questions: each a conversation.
        options: of every question.
    """
    answers = await all_of(judge.weigh(question, options) for question in questions)
    fallback = judge.fallback if isinstance(judge, ModelInRole) else None
    if fallback is None or not any(answer.refusals for answer in answers):
        return tuple(answers)
    asked = [
        question for question, answer in zip(questions, answers, strict=True) if not answer.refusals
    ]
    others = iter(await all_of(fallback.weigh(one, options) for one in asked))
    return tuple(answer if answer.refusals else next(others) for answer in answers)
