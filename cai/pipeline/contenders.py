"""Models that are compared with one another outside of any run, as a recipe of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cai.contest_settings import NAME, ContestSettings, CriterionName
from cai.errors import CaiError
from cai.models import ModelSettings
from cai.models.settings import settings_of
from cai.pipeline.contest import CRITERIA
from cai.pipeline.ingredients import policy_settings
from cai.pipeline.labeler import recipe_for
from cai.recipe import Recipe
from cai.roles import Roles
from cai.run_settings import PromptSets
from cai.sources import PromptSet
from cai.sources.questions import is_microworld


@dataclass(frozen=True)
class Contenders:
    """What is compared, and by whom.

    Args:
        models: as ``NAME=MODEL``, or a model alone, which goes by the end of its name; one that the
            recipe's contest has by that name has its settings, too.
        prompts: what they are asked; none: the recipe's evaluation prompts.
        judge: who judges; None for the recipe's.
        constitution: what the judge is asked; None for the recipe's contest's.
        gate_data: what the judge is measured on, each perhaps behind ``CRITERION=``.
        gates: limits that it must keep; None for the recipe's.
        prompts_of_each_kind: at most; None for all.
    """

    models: Sequence[str]
    prompts: tuple[PromptSet, ...] = ()
    judge: ModelSettings | None = None
    constitution: str | None = None
    gate_data: Sequence[str] = ()
    gates: Sequence[str] | None = None
    prompts_of_each_kind: int | None = None


def recipe_of_contenders(contenders: Contenders, base: Recipe | None) -> Recipe:
    """A recipe whose step ``evaluate`` compares these models and no others.

    Args:
        contenders: the models, prompts and judge.
        base: gives all else: templates, sampling, the contest's settings; None for the defaults.

    Raises:
        CaiError: there is no judge or no prompt, a name is wrong or there twice, or there are gates
            and nothing to measure the judge on.
    """
    judge = contenders.judge or (base.models.of("judge") if base else None)
    if judge is None:
        raise CaiError("no judge is named; add --judge NAME, or --recipe FILE for its judge")
    name = f"evaluation-{base.name if base else _last_part(judge.name)}"
    if base is None:
        empty = PromptSets(red_team=())
        base = Recipe(name=name, constitution="judging", models=Roles(default=judge), prompts=empty)
    contest = _contest(contenders, base.evaluation.contest or ContestSettings())
    prompts = contenders.prompts or base.prompts.evaluation
    if not prompts:
        raise CaiError("no prompts are named; add --harmful FILE, --harmless FILE, or --recipe")
    most = {"prompts": contenders.prompts_of_each_kind or base.evaluation.prompts}
    parts = {
        "name": name,
        "prompts": base.prompts.model_copy(update={"evaluation": prompts}),
        "evaluation": base.evaluation.model_copy(update={"contest": contest, **most}),
    }
    return recipe_for(judge, base).model_copy(update=parts)


def _contest(contenders: Contenders, settings: ContestSettings) -> ContestSettings:
    models: dict[str, ModelSettings] = {}
    for text in contenders.models:
        name, model = _named(text, settings.models)
        if name in models:
            raise CaiError(f"{name!r} is the name of two models; write --model NAME=MODEL")
        models[name] = model
    update: dict[str, object] = {"models": models, "stages": False}
    if contenders.constitution is not None:
        own = Path(contenders.constitution)
        update["constitution"] = str(own.resolve()) if own.is_file() else contenders.constitution
    if contenders.gates is not None:
        update["gates"] = tuple(contenders.gates)
    for criterion, data in _gate_data(contenders.gate_data).items():
        update[criterion] = settings.criterion(criterion).model_copy(update={"gate_data": data})
    contest = settings.model_copy(update=update)
    if contenders.gates and not any(contest.criterion(one).gate_data for one in CRITERIA):
        raise CaiError(
            "--gate says what a judge must keep, and it is not measured; add --gate-data FILE"
        )
    return contest


def _gate_data(given: Sequence[str]) -> dict[CriterionName, tuple[str, ...]]:
    """The files of each criterion; one that is named alone is for every criterion."""
    found: dict[CriterionName, tuple[str, ...]] = {}
    for text in given:
        named: list[CriterionName] = [
            criterion for criterion in CRITERIA if text.startswith(f"{criterion}=")
        ]
        path = text.partition("=")[2] if named else text
        # The recipe is kept in a folder of its own, and what it names is looked for from there.
        path = path if is_microworld(path) else str(Path(path).resolve())
        for criterion in named or CRITERIA:
            found[criterion] = (*found.get(criterion, ()), path)
    return found


def _named(text: str, known: Mapping[str, ModelSettings]) -> tuple[str, ModelSettings]:
    name, equals, model = text.partition("=")
    if not equals:
        name, model = _last_part(text), text
    if not NAME.fullmatch(name) or not model:
        raise CaiError(f"{text!r} is no model with a name; write NAME=MODEL, as base=hf:gpt2")
    if name in known and known[name].name == model:
        return name, known[name]
    settings = settings_of(model)
    # What a LoRA training leaves in a folder is an adapter: it is served on its base.
    return name, policy_settings(
        Path(model), settings
    ) if settings.provider == "folder" else settings


def _last_part(model: str) -> str:
    """The end of a model's name, as a name: ``gpt-x`` of ``openai:gpt-x``."""
    last = re.split(r"[/:\\]", model.rstrip("/"))[-1]
    return re.sub(r"[^A-Za-z0-9.-]+", "-", last).strip("-.") or "model"
