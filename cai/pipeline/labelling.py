"""Let the judge of a run label a pair, as the recipe says for its row."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from cai.label_settings import LabelSettings
from cai.pipeline.studio import Studio
from cai.records import Comparison, Response, RowKey
from cai.stages.compare import compare
from cai.stages.label_maths import RATING, Scale
from cai.stages.labelling import Labelling
from cai.stages.setting import Setting


class Judging(NamedTuple):
    """How a judge is asked.

    Args:
        setting: its principles and templates.
        label: the way to a label.
        minimum_mass: least total probability of the options, in [0, 1].
        scale: of ratings.
    """

    setting: Setting
    label: LabelSettings
    minimum_mass: float
    scale: Scale = RATING

    @property
    def labelling(self) -> Labelling:
        """The way to a label, for a stage."""
        return replace(self.label.labelling(self.minimum_mass), scale=self.scale)


def judging_of(studio: Studio) -> Judging:
    """How a run's judge labels its pairs."""
    settings = studio.recipe.comparisons
    return Judging(studio.setting, settings.label, settings.minimum_mass)


async def label_pair(studio: Studio, pair: tuple[Response, Response], key: RowKey) -> Comparison:
    """The label of two replies to the same prompt.

    Raises:
        RowEnded: as `cai.stages.compare.compare`.
    """
    settings = studio.recipe_for(key).comparisons
    return await compare(
        pair,
        key,
        judge=studio.model("judge", key),
        setting=studio.setting,
        labelling=settings.label.labelling(settings.minimum_mass),
    )
