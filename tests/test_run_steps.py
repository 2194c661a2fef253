"""Which steps a run takes, by what it is to come to."""

from __future__ import annotations

from typing import Any

import pytest

from cai.pipeline import steps_until

TO_PAIRS = ("revisions", "sft", "preferences")


@pytest.mark.parametrize(
    ("policies", "steps"),
    [
        (["rl"], (*TO_PAIRS, "pm", "rl", "evaluate")),
        (["dpo"], (*TO_PAIRS, "dpo", "evaluate")),
        (["rl", "dpo"], (*TO_PAIRS, "dpo", "pm", "rl", "evaluate")),
    ],
    ids=["rl", "dpo", "both"],
)
def test_a_whole_run_trains_the_policies_of_its_recipe(policies: Any, steps: Any):
    assert steps_until("evaluate", policies) == steps


@pytest.mark.parametrize(
    ("last", "steps"),
    [
        ("revisions", ("revisions",)),
        ("preferences", TO_PAIRS),
        ("sft", ("revisions", "sft", "evaluate")),
        ("pm", (*TO_PAIRS, "pm", "evaluate")),
        ("dpo", (*TO_PAIRS, "dpo", "evaluate")),
        ("rl", (*TO_PAIRS, "pm", "rl", "evaluate")),
    ],
)
def test_a_step_takes_those_that_it_needs_and_no_other_policy(last: Any, steps: Any):
    assert steps_until(last, ("rl", "dpo")) == steps
