"""What a run is given, read and checked before anything of it is made: faults show first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cai.constitution import load_constitution
from cai.engine.budget import Budget
from cai.evaluation.patterns import Patterns, parse_patterns, read_patterns
from cai.pipeline.filtering import Filters
from cai.pipeline.reruns import RowSettings, read_reruns
from cai.pipeline.templates import check_same_templates, templates_of
from cai.recipe import Recipe, with_settings
from cai.records import RowKey
from cai.stages.setting import Setting


@dataclass(frozen=True)
class Given:
    """All that a run reads before its first row, but for prompts and pairs.

    Args:
        setting: constitution, templates and seed.
        rows_with_settings: rows that a rerun has given settings of their own.
        row_settings: what settings a row has.
        recipes: of rows with settings, by these.
        filters: what prompts and replies are left out.
        patterns: of refusals, by their file; None for those shipped for the language.
    """

    setting: Setting
    rows_with_settings: frozenset[RowKey]
    row_settings: RowSettings
    recipes: Mapping[tuple[str, ...], Recipe]
    filters: Filters
    patterns: Mapping[Path | None, Patterns]


def read_given(recipe: Recipe, reruns: Path, budget: Budget) -> Given:
    """Read constitution, templates, reruns, filters and patterns.

    Args:
        recipe: of the run.
        reruns: the file of settings of single rows; it need not be there.
        budget: of the run; a limit of dollars needs the prices of all models.

    Raises:
        CaiError: one of them is faulty or is not there.
    """
    constitution = load_constitution(recipe.constitution)
    setting = Setting(constitution, templates_of(recipe, constitution), recipe.seed)
    read = read_reruns(reruns)
    row_settings = RowSettings(read.kept)
    recipes = {
        settings: with_settings(recipe, settings, reruns)
        for settings in row_settings.combinations()
    }
    check_same_templates(recipe, recipes.values())
    filters = Filters(recipe, constitution.language)
    every = [recipe, *recipes.values()]
    files = {one.refusals.patterns for one in every if one.worded_refusals}
    patterns = {file: patterns_of(file, constitution.language) for file in files}
    models = [one for each in every for one in each.playing]
    budget.check_prices({one.name: one.known_prices for one in models})
    return Given(setting, read.rows, row_settings, recipes, filters, patterns)


def patterns_of(file: Path | None, language: str) -> Patterns:
    """Patterns of refusals: of a file, or those shipped for a language.

    Raises:
        CaiError: the file is faulty, or none are shipped.
    """
    return read_patterns(language) if file is None else parse_patterns(file)
