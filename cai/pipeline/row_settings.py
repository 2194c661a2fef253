"""Which of a recipe's fields can be set for single rows: those that the rows of a stage read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from cai.errors import CaiError
from cai.pipeline.studio import COMPARED
from cai.recipe import Recipe

REFUSALS = ("models.fallback", "refusals")

SETTABLE: Mapping[str, tuple[str, ...]] = {
    "response": ("revisions.sampling", "models.assistant", *REFUSALS),
    "revision": ("revisions.sampling", "models.critic", "models.reviser", *REFUSALS),
    "helpful": ("revisions.sampling", "models.assistant", *REFUSALS),
    "revision_check": ("comparisons.minimum_mass", "comparisons.label", "models.judge", *REFUSALS),
    "revision_over_initial": (),
    "canned_refusal": ("comparisons.sampling", "models.assistant", *REFUSALS),
    "contrast": ("comparisons.sampling", "models.assistant", *REFUSALS),
    "pair": ("comparisons.sampling", "models.assistant", *REFUSALS),
    "comparison": ("comparisons.minimum_mass", "comparisons.label", "models.judge", *REFUSALS),
    "label_probe": ("comparisons.minimum_mass", "comparisons.label", "models.judge", *REFUSALS),
    "evaluation_helpful": ("evaluation.sampling",),
    "evaluation_distilled": ("evaluation.sampling",),
    "evaluation_sl_cai": ("evaluation.sampling",),
    "evaluation_dpo": ("evaluation.sampling",),
    "evaluation_rl_cai": ("evaluation.sampling",),
    "evaluation_best_of": ("evaluation.sampling",),
    "gate_harmlessness": ("models.judge", *REFUSALS),
    "gate_helpfulness": ("models.judge", *REFUSALS),
    "contest_harmlessness": ("evaluation.contest.minimum_mass", "models.judge", *REFUSALS),
    "contest_helpfulness": ("evaluation.contest.minimum_mass", "models.judge", *REFUSALS),
    "verdict": ("evaluation.verdicts.minimum_mass", "models.judge", *REFUSALS),
    "gate_harmfulness": ("models.judge", *REFUSALS),
    "harmfulness_greedy": ("evaluation.harmfulness.minimum_mass", "models.judge", *REFUSALS),
    "harmfulness_sampled": ("evaluation.harmfulness.minimum_mass", "models.judge", *REFUSALS),
}
"""Every stage whose rows can be made again alone, and the recipe's fields that its rows read.

Rows with the replies of a contest's further models are of stages that have their names."""

REPLIES = "evaluation_"
"""How the stages of rows with a measured model's replies begin."""


def check_stage(stage: str) -> None:
    """Refuse a stage whose rows cannot be made again alone; an empty one means all.

    Raises:
        CaiError: there is no such stage.
    """
    if stage and stage not in SETTABLE and not stage.startswith(REPLIES):
        raise CaiError(
            f"rows of stage {stage!r} cannot be made again alone; choose --stage from "
            f"{', '.join(SETTABLE)}"
        )


def settings_by_stage(
    recipe: Recipe, settings: Sequence[str], stages: Iterable[str]
) -> Mapping[str, tuple[str, ...]]:
    """The settings that belong to each stage, in the order given.

    Args:
        recipe: of the run; what its rows do not read cannot be set.
        settings: ``a.b=value`` overrides.
        stages: those of the rows that are to have them.

    Raises:
        CaiError: a setting belongs to none of the stages.
    """
    settable = {stage: _settable(recipe, stage) for stage in stages}
    by_stage = {
        stage: tuple(one for one in settings if _is_within(one, fields))
        for stage, fields in settable.items()
    }
    strange = [one for one in settings if all(one not in of for of in by_stage.values())]
    if strange:
        choices = "".join(f"\n  {stage}: {', '.join(of)}" for stage, of in settable.items())
        raise CaiError(
            f"--set {strange[0]} cannot be set for single rows of these stages; what can be is"
            f"{choices}"
        )
    return by_stage


def _settable(recipe: Recipe, stage: str) -> tuple[str, ...]:
    """The fields that rows of a stage read under this recipe."""
    unread = {"models.critic"} if not recipe.revisions.critique else set[str]()
    if stage in COMPARED and recipe.comparisons.responder != "assistant":
        unread |= {"models.assistant", *REFUSALS}
    read = SETTABLE.get(stage, ("evaluation.sampling",))
    return tuple(field for field in read if field not in unread)


def _is_within(setting: str, fields: Collection[str]) -> bool:
    name = setting.partition("=")[0].strip()
    return any(name == field or name.startswith(f"{field}.") for field in fields)
