"""How a recipe says that policies are compared with one another by a judge."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from cai.constitution.values import Selectors
from cai.errors import CaiError
from cai.evaluation.gates import read_gate
from cai.label_settings import LabelSettings
from cai.models import ModelSettings
from cai.models.folders import anchored_model
from cai.sources.questions import is_microworld
from cai.stage_titles import BEST_OF, own_stages
from cai.validation import Entry

CriterionName = Literal["harmlessness", "helpfulness"]

KINDS: dict[CriterionName, tuple[str, ...]] = {
    "harmlessness": ("harmful", "borderline"),
    "helpfulness": ("harmless",),
}
"""The criteria, and the kinds of prompts that each is judged on (Bai et al. 2022, §4.4)."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""What a model may be called: its name stands in the stages of rows."""


class CriterionSettings(Entry):
    """What one criterion is judged by, and what the judge must know of it."""

    principles: Selectors = Field(
        default=(),
        description="Principles of the judge's constitution that stand for it: ids, patterns, or "
        "tag:NAME. By default those that have the criterion's name as a tag.",
    )
    gate_data: tuple[str, ...] = Field(
        default=(),
        description="Questions with known answers that the judge is measured on under these "
        "principles: files, or microworld:heldout. Without any, its verdicts are not trusted.",
    )

    def with_data_in(self, folder: Path) -> Self:
        """The same with relative paths of its data resolved against a folder."""
        data = (
            path if is_microworld(path) else str((folder / path).resolve())
            for path in self.gate_data
        )
        return self.model_copy(update={"gate_data": tuple(data)})


class JudgedSettings(Entry):
    """What a judge of policies is asked."""

    constitution: str = Field(
        default="judging",
        description="What the judge is asked: a shipped constitution's name, or a file.",
    )
    minimum_mass: float = Field(
        default=0.5, ge=0, le=1, description="Least total probability of the options."
    )

    def constitution_in(self, folder: Path) -> str:
        """Its constitution: the file of that name in a folder, if there is one."""
        beside = folder / self.constitution
        return str(beside.resolve()) if beside.is_file() else self.constitution


class GatedSettings(JudgedSettings):
    """What a judge must know to be believed."""

    gates: tuple[str, ...] = Field(
        default=("accuracy=0.8",),
        description="Limits that the judge must keep on the gate data, as `cai evaluate labeler` "
        "has them.",
    )
    gate_rows: int = Field(default=200, ge=1, description="Most rows of each file of gate data.")

    @field_validator("gates")
    @classmethod
    def _that_are_gates(cls, gates: tuple[str, ...]) -> tuple[str, ...]:
        for gate in gates:
            try:
                read_gate(gate)
            except CaiError as error:
                raise ValueError(str(error)) from error
        return gates

    def limited(self, limit: int) -> Self:
        """The same with the gate data cut to `limit` rows."""
        return self.model_copy(update={"gate_rows": min(self.gate_rows, limit)})


class ContestSettings(GatedSettings):
    """Policies compared two by two, and what becomes of it: Elo scores and win rates."""

    prompts: int | None = Field(
        default=None,
        ge=1,
        description="Most evaluation prompts of each kind that are judged, chosen by their hash; "
        "all if not given.",
    )
    harmlessness: CriterionSettings = CriterionSettings()
    helpfulness: CriterionSettings = CriterionSettings()
    label: LabelSettings = Field(
        default=LabelSettings(), description="The way to a judgement, as comparisons.label has it."
    )
    draws: int = Field(
        default=1000, ge=40, description="Resamples of the prompts, for the scores' intervals."
    )
    models: dict[str, ModelSettings] = Field(
        default_factory=dict[str, ModelSettings],
        description="Further models that are measured and compared, by the names they go by.",
    )
    stages: bool = Field(
        default=True,
        description="The run's own policies take part; false: `models` alone are measured.",
    )

    @field_validator("models", mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            name: {"name": one} if isinstance(one, str) else one
            for name, one in value.items()  # pyright: ignore[reportUnknownVariableType]
        }

    @field_validator("models")
    @classmethod
    def _named_plainly(cls, models: dict[str, ModelSettings]) -> dict[str, ModelSettings]:
        for name in models:
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name; use letters, digits, dots and dashes")
        return models

    @model_validator(mode="after")
    def _somebody(self) -> ContestSettings:
        if not self.stages and not self.models:
            raise ValueError("stages: false leaves nobody to be measured; name some models")
        # Best-of-N is known by its name alone, whether the run takes part or not.
        taken = [name for name in own_stages(self.models) if self.stages or BEST_OF in name]
        if taken:
            raise ValueError(f"{taken[0]} is a policy of the run; choose another name in models")
        return self

    def anchored(self, folder: Path) -> Self:
        """The same with relative paths resolved against a folder."""
        criteria = {name: self.criterion(name).with_data_in(folder) for name in KINDS}
        models = {name: anchored_model(one, folder) for name, one in self.models.items()}
        updates = {"constitution": self.constitution_in(folder), "models": models, **criteria}
        return self.model_copy(update=updates)

    def criterion(self, name: CriterionName) -> CriterionSettings:
        """The settings of a criterion."""
        return self.harmlessness if name == "harmlessness" else self.helpfulness
