"""What asking a judge about a constitution's cases would buy."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from cai.engine import Ledger
from cai.engine.foreseen import Foresight
from cai.evaluation.cases import CaseSettings, Judging, ask_cases, questions_of
from cai.means import StatedMeans
from cai.models import ModelSettings
from cai.pipeline.aside import foreseen_model
from cai.pipeline.forecast_parts import Forecast, parts_of


def foretell_cases(
    constitution: str | Path, judge: ModelSettings, settings: CaseSettings
) -> Forecast:
    """Say what `cai.evaluation.cases.judge_cases` would buy; nothing is bought.

    Args:
        constitution: a path, or a shipped name.
        judge: the model that would be asked.
        settings: how; what its ledger has counts as bought.

    Raises:
        CaiError: as there.
    """
    _, cases, setting = questions_of(constitution, settings, judge)
    place = settings.ledger
    with tempfile.TemporaryDirectory(prefix="cai-forecast-") as aside:
        there = place is not None and place.is_file()
        path = place if place is not None and there else Path(aside) / "ledger.sqlite"
        with Ledger.open(path, read_only=there) as ledger:
            foresight = Foresight(ledger)
            model = foreseen_model(judge, foresight, nothing_bought=not there)
            asyncio.run(ask_cases(cases.placed, Judging(model, setting, settings.minimum_mass)))
            fallback = None if settings.fallback is None else settings.fallback.name
            return Forecast(parts_of(foresight, StatedMeans()), (), fallback)
