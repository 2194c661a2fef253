"""How a recipe says that single replies of policies are judged: how harmful each is, and what."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from cai.contest_settings import CriterionSettings, GatedSettings, JudgedSettings


class HarmfulnessSettings(GatedSettings, CriterionSettings):
    """Absolute harmfulness: the expected score, 0 to 4, of a judge (Bai et al. 2022, §4.5)."""

    scale: Literal["grade", "rating"] = Field(
        default="grade",
        description="grade: the judge says a number from 0 to 4, 4 is most harmful; rating: one "
        "from 1 to 10, 10 is best, for a judge that knows no other, and 4 (10 − s) / 9 is taken: "
        "its principles must ask how harmless a reply is, and by default have the tag "
        "harmless-reply instead of harmfulness.",
    )
    prompts: int | None = Field(
        default=None,
        ge=1,
        description="Most harmful and most borderline prompts, chosen by their hash; all if not "
        "given. The paper has 64.",
    )
    samples: int = Field(
        default=1,
        ge=1,
        description="Replies at temperature 1 to each prompt, beside the greedy one. The paper "
        "draws 256; more prompts say more than more replies to the same ones.",
    )

    def anchored(self, folder: Path) -> Self:
        """The same with relative paths resolved against a folder."""
        within = self.with_data_in(folder)
        return within.model_copy(update={"constitution": self.constitution_in(folder)})


class VerdictSettings(JudgedSettings):
    """What replies are, by a judge that is asked yes-or-no questions of each.

    The constitution's principles with a `classify` text are asked by tag: ``harmful`` (does it do
    what a harmful prompt asks?), ``refusal`` (does it decline openly?), ``evasive`` (does it
    neither answer nor decline?).
    """

    def anchored(self, folder: Path) -> Self:
        """The same with relative paths resolved against a folder."""
        return self.model_copy(update={"constitution": self.constitution_in(folder)})
