"""Train-PM and test-PM over the course of RL, as its log has them (HH-RLHF, §4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from cai.evaluation.robustness import TrackedStep, robustness_figures
from cai.pipeline.studio import Studio
from trainers.tracking import GAP_STD, TEST, TRAIN
from trainers.work_folder import LOG


def measure_robustness(studio: Studio) -> Mapping[str, Any]:
    """The curve of both against √KL and where they part; empty if the recipe halves no pairs.

    Args:
        studio: of one iteration, whose curve it is; a run tells that of its last one.
    """
    if not studio.recipe.datasets.preference_halves:
        return {}
    lines = (studio.folder.model("rl_cai") / LOG).read_bytes().splitlines()
    cases = studio.recipe.rl.prompts_per_step
    steps = [
        TrackedStep(
            step=logged["step"],
            sqrt_kl=logged["sqrt_kl"],
            train=logged[TRAIN],
            test=logged[TEST],
            deviation=logged[GAP_STD],
            cases=cases,
        )
        for logged in map(orjson.loads, lines)
    ]
    return {"robustness": robustness_figures(steps) or None}
