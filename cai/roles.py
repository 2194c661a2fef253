"""Which models a recipe names, each for its role, how they sample, and how a refusal is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from cai.errors import CaiError
from cai.models import ModelSettings
from cai.models.folders import anchored_model
from cai.models.roles import RoleSampling
from cai.prompts import Family
from cai.records import Sampling
from cai.validation import Entry

RoleName = Literal["base", "assistant", "critic", "reviser", "judge"]

WORDING: tuple[RoleName, ...] = ("assistant", "critic", "judge")
"""Roles whose refusals the fallback answers by their wording too. A reviser is none of them: a
careful revision may be worded as a refusal, and is what was asked for."""


ROLE_OF_TEMPLATE: Mapping[str, RoleName] = {
    "respond": "assistant",
    "critique": "critic",
    "revise": "reviser",
    **dict.fromkeys(("compare", "reason", "rate", "grade", "classify", "answer"), "judge"),
    "write_prompts": "assistant",
}
"""Who is asked with each template."""

WITH_TEXTS: tuple[RoleName, ...] = ("critic", "reviser", "judge")
"""Roles that the family completion asks in plain text; the assistant has a conversation in both."""

UNSAMPLED = {
    "base": "it is trained, and asked nothing",
    "judge": "a label is a probability at temperature 1, read off or estimated from short replies",
}


class Roles(Entry):
    """Which model does what; a role that is not named is played by `default`.

    `base` is what the SFT and preference models start from, so it must be weights at hand; the
    assistant writes the first replies (a helpful-only model in the paper), and the judge answers
    the multiple-choice questions. What one of them declines to answer is asked of the fallback, if
    there is one; the default never plays it.
    """

    default: ModelSettings | None = Field(
        default=None, description="Plays every role that is not named, but for the fallback."
    )
    base: ModelSettings | None = Field(
        default=None, description="Is trained: SFT and the preference model start from its weights."
    )
    assistant: ModelSettings | None = Field(
        default=None, description="Writes the first replies; helpful-only in the paper (§3.2)."
    )
    critic: ModelSettings | None = Field(default=None, description="Writes the critiques.")
    reviser: ModelSettings | None = Field(default=None, description="Writes the revisions.")
    judge: ModelSettings | None = Field(
        default=None, description="Answers the multiple-choice questions that labels come from."
    )
    fallback: ModelSettings | None = Field(
        default=None, description="Answers what another role declines."
    )

    @field_validator("*", mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _sampling_with_a_use(self) -> Self:
        for name, role in (("base", self.base), ("judge", self.judge)):
            if role is not None and role.sampling is not None:
                raise ValueError(f"{name}: takes no sampling; {UNSAMPLED[name]}")
        if self.base is not None and self.base.family is not None:
            raise ValueError(f"base: takes no family; {UNSAMPLED['base']}")
        return self

    @model_validator(mode="after")
    def _families_that_fit(self) -> Self:
        judge, last = self.by_role.get("judge"), self.fallback
        if judge is not None and judge.family == "completion" and judge.batch:
            raise ValueError(
                "judge: a label in plain text takes a second call after its bracket, which a batch "
                "cannot make; set batch: false for it"
            )
        if last is not None:
            asked = {self.by_role[role].family for role in WITH_TEXTS if role in self.by_role}
            if strange := {family or "chat" for family in asked} - {last.family or "chat"}:
                raise ValueError(
                    f"fallback: is asked what the other roles are asked, and some of them are of "
                    f"the family {strange.pop()}; give it that family, and a model that fits"
                )
        return self

    def anchored(self, folder: Path) -> Self:
        """The same with models and adapters that lie in a folder named by their whole paths."""
        given = {role: getattr(self, role) for role in Roles.model_fields}
        updates = {role: anchored_model(one, folder) for role, one in given.items() if one}
        return self.model_copy(update=updates)

    @property
    def families(self) -> Mapping[str, Family]:
        """The family of each template: that of the role that is asked with it."""
        playing = {**self.by_role}
        return {
            template: (role in playing and playing[role].family) or "chat"
            for template, role in ROLE_OF_TEMPLATE.items()
        }

    @property
    def playing(self) -> tuple[ModelSettings, ...]:
        """The settings of every role; a default that plays none is not among them."""
        return tuple(self.by_role.values())

    @property
    def by_role(self) -> Mapping[str, ModelSettings]:
        """The settings of every role and of the fallback, as far as somebody plays it."""
        roles: tuple[RoleName, ...] = get_args(RoleName)
        given = {role: getattr(self, role) or self.default for role in roles}
        both = {**given, "fallback": self.fallback}
        return {role: settings for role, settings in both.items() if settings is not None}

    def of(self, role: RoleName) -> ModelSettings:
        """Settings of the model that plays a role.

        Raises:
            CaiError: neither the role nor a default is named.
        """
        settings: ModelSettings | None = getattr(self, role) or self.default
        if settings is None:
            raise CaiError(f"the recipe names no model for the role {role}; set models.{role}")
        return settings


class SamplingSettings(Entry):
    """How replies are drawn; the papers sample at temperature 1."""

    temperature: float = Field(
        default=1.0, ge=0, description="Of the softmax; 0: always the likeliest token."
    )
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="Only the likeliest tokens of so much probability."
    )
    max_tokens: int = Field(default=256, ge=1, description="Longest reply; longer are cut off.")
    stop: tuple[str, ...] = Field(
        default=(), description="Texts that end a reply and are no part of it."
    )

    def under(self, own: RoleSampling | None) -> SamplingSettings:
        """The same with a role's own sampling in the places where it has some."""
        return self if own is None else self.model_copy(update=own.model_dump(exclude_none=True))

    def with_seed(self, seed: int) -> Sampling:
        """The sampling of one call."""
        return Sampling(self.temperature, self.top_p, self.max_tokens, self.stop, seed)


class RefusalSettings(Entry):
    """How refusals are recognised, beside the provider's own sign."""

    wording: tuple[RoleName, ...] | None = Field(
        default=None,
        description="Roles whose replies are also looked at for the wording of a refusal; by "
        "default assistant, critic and judge if there is a fallback, else none.",
    )
    patterns: Path | None = Field(
        default=None,
        description="A file of patterns in place of those shipped for the constitution's language.",
    )
