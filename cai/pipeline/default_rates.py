"""Learning rates that a recipe leaves to this project, whose defaults are meant for tiny models."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from cai.pipeline.steps import Step
from cai.recipe import Recipe

SECTIONS: Mapping[Step, str] = {
    "distill": "distillation",
    "sft": "sft",
    "dpo": "dpo",
    "pm": "preference_model",
    "rl": "rl",
}
"""The part of the recipe that each training reads."""

MADE_FOR = "microworld"


def default_rates(recipe: Recipe, steps: Collection[Step]) -> str | None:
    """What to say where a base of one's own would be trained at the defaults; None if nothing.

    A rate that a preset sets counts as the recipe's own.

    Args:
        recipe: as it was written.
        steps: those that are to be done.
    """
    if recipe.models.of("base").name == MADE_FOR:
        return None
    left = [
        section
        for step, section in SECTIONS.items()
        if step in steps and "learning_rate" not in getattr(recipe, section).model_fields_set
    ]
    if not left:
        return None
    return (
        f"{', '.join(left)}: no learning_rate in the recipe, and the default is meant for models "
        "of about a million parameters; larger ones need less, see docs/own-prompts.md"
    )
