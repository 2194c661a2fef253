"""What measuring judges would buy, told before it is paid for."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from cai.models import ModelSettings
from cai.pipeline.aside import Taken, foretell
from cai.pipeline.folder import RunFolder
from cai.pipeline.forecast_parts import Forecast
from cai.pipeline.labeler import Trials, ask, questions_of, recipe_for
from cai.pipeline.labeler_constitution import constitution_of
from cai.pipeline.studio import Studio


def foretell_trials(trials: Trials, *, sample: int = 0) -> Forecast:
    """Say what `measure_judges` would buy; buys the calls of a sample and nothing else.

    Args:
        trials: as there.
        sample: how many questions to ask each judge in earnest; 0 for none.

    Raises:
        CaiError: what would stop the measurement as well.
    """
    questions = questions_of(trials, {})
    with tempfile.TemporaryDirectory(prefix="cai-forecast-") as place:
        # The files' own questions are written down as a constitution, here aside.
        aside, named = RunFolder(Path(place)), trials.names_constitution
        recipe = constitution_of(trials.recipe, questions, aside, named)
        own = replace(trials, recipe=recipe)

        def taken(number: int, judge: ModelSettings) -> Taken:
            async def take(studio: Studio) -> None:
                await ask(studio, questions, own, number)

            return Taken(recipe_for(judge, recipe), take)

        passes = [taken(number, judge) for number, judge in enumerate(trials.judges)]
        return foretell(passes, trials.folder, sample=sample)
