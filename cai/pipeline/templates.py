"""The templates that a recipe asks its models with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cai.constitution import Constitution
from cai.errors import CaiError
from cai.prompts import Prompts
from cai.recipe import Recipe


def templates_of(
    recipe: Recipe, constitution: Constitution, kind: type[Prompts] = Prompts
) -> Prompts:
    """The templates of a recipe: of its folder, its roles' families, and its labels' frame.

    Args:
        recipe: says all that.
        constitution: whose language they are looked for in first.
        kind: of what is made.

    Raises:
        InputError: a template or its folder has faults.
    """
    folder, families, frame = _choice(recipe)
    return kind(folder, families, language=constitution.language, frame=frame)


def check_same_templates(recipe: Recipe, others: Iterable[Recipe]) -> None:
    """Refuse rows whose own settings would have other templates than the run's.

    Raises:
        CaiError: some have another family or frame.
    """
    if any(_choice(other) != _choice(recipe) for other in others):
        raise CaiError(
            "single rows cannot have a family or frame of their own: change it in the recipe, for "
            "all rows of the run"
        )


def _choice(recipe: Recipe) -> tuple[Any, ...]:
    return (recipe.templates, recipe.models.families, recipe.comparisons.label.frame)
