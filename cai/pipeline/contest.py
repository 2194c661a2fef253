"""Compare policies two by two: a judge says which of two replies to a prompt is the better one.

Two criteria, each with principles and kinds of prompts of its own: harmlessness, where of equally
harmless replies the less evasive one is preferred, and helpfulness (Bai et al. 2022, §4.4). Each
judgement is a row: both presentation orders, under principles that are drawn for the prompt, the
same ones for every two policies. Before, the judge itself is measured under the same principles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import NamedTuple

from cai.at_once import all_of
from cai.contest_settings import KINDS, ContestSettings, CriterionName
from cai.engine import RowLog
from cai.errors import Fault, InputError
from cai.pipeline.judged_rows import reply_to_judge
from cai.pipeline.judging import (
    Choice,
    GateData,
    check_gate,
    chosen_principles,
    judging_under,
    measure_by,
)
from cai.pipeline.labelling import Judging
from cai.pipeline.policies import (
    StagePolicy,
    prompts_measured_on,
    some_of_each_kind,
)
from cai.pipeline.studio import Studio
from cai.recipe import Recipe
from cai.records import Comparison, Prompt, RowKey
from cai.stages.compare import calls_of, compare_under

IDENTICAL = "identical"
"""Source of the label of two replies that are the same text."""

CRITERIA: tuple[CriterionName, ...] = tuple(KINDS)


class Match(NamedTuple):
    """Two policies' replies to a prompt, to be judged in one row."""

    prompt: Prompt
    key: RowKey
    a: StagePolicy
    b: StagePolicy


def stage_of(criterion: CriterionName) -> str:
    """Of the rows with what was judged."""
    return f"contest_{criterion}"


def gate_stage_of(criterion: CriterionName) -> str:
    """Of the rows with what the judge was measured on."""
    return f"gate_{criterion}"


def settings_of_contest(recipe: Recipe) -> ContestSettings:
    """Those of a recipe that has a contest."""
    settings = recipe.evaluation.contest
    assert settings is not None, "asked for by a recipe that has a contest"
    return settings


def contestants(policies: Sequence[StagePolicy]) -> list[StagePolicy]:
    """Those that a single reply can be had of; the best of several is another one's choice."""
    return [one for one in policies if one.replies == 1]


def pairs_of_policies(policies: Sequence[StagePolicy]) -> list[tuple[StagePolicy, StagePolicy]]:
    """Every two policies; one that is added at the end leaves the others' places as they were."""
    return [(a, b) for place, b in enumerate(policies) for a in policies[:place]]


async def measure_judge(
    studio: Studio, policies: Sequence[StagePolicy], criterion: CriterionName
) -> None:
    """Ask the judge the gate's questions, under the principles that it is to judge by.

    Nothing is asked where it will have nothing to judge: no two policies, or no prompt.

    Args:
        studio: of the run.
        policies: as of `judge_policies`.
        criterion: by what.

    Raises:
        CaiError: the data cannot be read, or cannot be asked.
    """
    judges = len(contestants(policies)) > 1 and any(True for _ in _prompts(studio, criterion))
    gate = gate_of(studio.recipe, criterion)
    await measure_by(
        studio,
        judging_by(studio, criterion),
        gate if judges else gate._replace(data=()),
        gate_stage_of(criterion),
        f"measure the judge of {criterion}",
    )


async def judge_policies(
    studio: Studio, policies: Sequence[StagePolicy], criterion: CriterionName
) -> None:
    """Let the judge compare every two policies' replies to each prompt of the criterion.

    Args:
        studio: of the run.
        policies: in the order of the run; the first one is the zero of the scores.
        criterion: by what.

    Raises:
        CaiError: the contest's constitution has no principle for the criterion.
    """
    judging, stage = judging_by(studio, criterion), stage_of(criterion)
    pairs = pairs_of_policies(contestants(policies))

    def items() -> Iterator[Match]:
        for prompt in _prompts(studio, criterion) if pairs else ():
            for number, (a, b) in enumerate(pairs):
                key = RowKey(stage, prompt.id, sample=number, iteration=studio.iteration)
                if studio.takes(key):
                    yield Match(prompt, key, a, b)

    await studio.run_rows(
        f"judge {criterion}",
        items,
        lambda match, log: _judge(studio, judging, match, log),
        stages=(stage,),
    )


def gate_of(recipe: Recipe, criterion: CriterionName) -> GateData:
    """What the judge of a criterion is measured on."""
    settings = settings_of_contest(recipe)
    kind = "harmful" if criterion == "harmlessness" else "harmless"
    return GateData(settings.criterion(criterion).gate_data, settings.gate_rows, kind)


def check_judging(studio: Studio, criterion: CriterionName) -> None:
    """Make sure that the judge can be asked about a criterion, and measured before.

    Raises:
        CaiError: its constitution has faults or too few principles, or the gate data cannot be
            read or asked.
    """
    judging = judging_by(studio, criterion)
    stage = "comparison" if judging.label.way == "choice" else "rating"
    there, wanted = judging.setting.constitution.of_stage(stage), judging.label.principles
    if len(there) < wanted:
        name = settings_of_contest(studio.recipe).constitution
        told = f"is {wanted}, and {len(there)} stand for {criterion} with a text for {stage}"
        raise InputError(name, [Fault(told, "evaluation.contest.label.principles")])
    check_gate(studio, judging, gate_of(studio.recipe, criterion))


def judging_by(studio: Studio, criterion: CriterionName) -> Judging:
    """How the judge is asked about a criterion.

    Raises:
        InputError: the contest's constitution has faults, or no principle for the criterion.
    """
    contest = settings_of_contest(studio.recipe)
    text = "rating" if contest.label.way == "rating" else "comparison"
    selectors = contest.criterion(criterion).principles or (f"tag:{criterion}",)
    field = f"evaluation.contest.{criterion}.principles"
    constitution = chosen_principles(contest.constitution, Choice(selectors, text, field))
    return judging_under(studio, constitution, contest.label, contest.minimum_mass)


def _prompts(studio: Studio, criterion: CriterionName) -> Iterator[Prompt]:
    most = settings_of_contest(studio.recipe).prompts
    of_kinds = (one for one in prompts_measured_on(studio) if one.kind in KINDS[criterion])
    return some_of_each_kind(of_kinds, most, studio.setting.seed)


async def _judge(studio: Studio, judging: Judging, match: Match, log: RowLog) -> None:
    prompt, key, a, b = match
    first, second = await all_of(reply_to_judge(studio, one, prompt, key) for one in (a, b))
    about = {"policy_a": a.stage, "policy_b": b.stage}
    if first.text == second.text:
        # In both orders the judge would be asked the same: whatever it said, the mean is a half.
        texts = (first.text, second.text)
        tie = Comparison(prompt, *texts, p_a=0.5, source=IDENTICAL, provenance=about)
        await log.ok(key, asdict(tie), ())
        return
    settings = settings_of_contest(studio.recipe_for(key))
    labelling = judging._replace(minimum_mass=settings.minimum_mass).labelling
    stage = "comparison" if labelling.way == "choice" else "rating"
    # Drawn for the prompt: every two policies are judged by the same principles.
    principles = judging.setting.draw_many(stage, labelling.principles, prompt, key, 0)
    label = await compare_under(
        principles,
        (first, second),
        key,
        judge=studio.model("judge", key),
        setting=judging.setting,
        labelling=labelling,
    )
    label = replace(label, provenance={**label.provenance, **about})
    await log.ok(key, asdict(label), calls_of(label), label.refusals)
