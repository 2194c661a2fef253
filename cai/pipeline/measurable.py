"""Whether what is about to be bought can be measured: faults of that show before the first call."""

from __future__ import annotations

from collections.abc import Collection

from cai.evaluation.classifiers import check_request
from cai.pipeline.judged import check_judges
from cai.pipeline.policies import prompts_measured_on
from cai.pipeline.steps import Step
from cai.pipeline.studio import Studio

MEASURED: frozenset[Step] = frozenset({"revisions", "preferences", "evaluate"})
"""Steps whose replies are told apart by truth or patterns."""


def check_measurable(studio: Studio, steps: Collection[Step]) -> None:
    """Make sure that there is what steps measure by, before hours are spent on what they measure.

    Raises:
        CaiError: there are no patterns of refusals for the constitution's language, the microworld
            is to judge what is no request of its own, or a judge cannot be asked; see
            `cai.pipeline.judged.check_judges`.
    """
    truth = studio.recipe.evaluation.truth
    # By patterns alone a preference model is held against, whatever else is known of the replies.
    if "evaluate" in steps or (truth == "patterns" and not MEASURED.isdisjoint(steps)):
        studio.patterns()
    if truth == "microworld" and "revisions" in steps:
        for prompt in studio.prompts("red_team"):
            if prompt.kind == "harmful":
                check_request(prompt)
    if "evaluate" in steps:
        for prompt in prompts_measured_on(studio) if truth == "microworld" else ():
            check_request(prompt)
        check_judges(studio)
