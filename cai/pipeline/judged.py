"""All that a judge says of a run's policies, as the recipe asks for it, and what comes of it."""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from functools import partial
from typing import Any, NamedTuple

from cai.evaluation import Classifier
from cai.pipeline.contest import (
    CRITERIA,
    check_judging,
    contestants,
    gate_stage_of,
    judge_policies,
    measure_judge,
    pairs_of_policies,
    stage_of,
)
from cai.pipeline.contest_figures import contest_figures
from cai.pipeline.harmfulness import (
    GATE,
    GREEDY,
    SAMPLED,
    check_judging_of_harm,
    measure_harm_judge,
    score_replies,
)
from cai.pipeline.harmfulness_figures import measure_harmfulness
from cai.pipeline.policies import StagePolicy
from cai.pipeline.studio import Studio
from cai.pipeline.style import measure_style
from cai.pipeline.verdicts import STAGE as VERDICT
from cai.pipeline.verdicts import judge_replies, measure_verdicts, questions_of
from cai.recipe import Recipe
from cai.records import RowKey


class JudgePass(NamedTuple):
    """One pass of a judge's.

    Args:
        stage: of the rows that it makes.
        take: makes them.
        about: whose replies to its prompt a row is about, by the row's sample; none where it is
            about a known question.
    """

    stage: str
    take: Callable[[Studio], Awaitable[None]]
    about: Mapping[int, Sequence[StagePolicy]]

    @property
    def of_replies(self) -> bool:
        """Whether it is about the policies' replies, and not about known questions."""
        return bool(self.about)


def passes_of_judges(recipe: Recipe, policies: Sequence[StagePolicy]) -> list[JudgePass]:
    """Compare the policies, score their replies, and say what these are, as a recipe asks for it.

    Args:
        recipe: of the run.
        policies: in the order of the run; those of all iterations meet, in the first one.
    """
    evaluation, found = recipe.evaluation, list[JudgePass]()
    answering = contestants(policies)
    for one in CRITERIA if evaluation.contest is not None else ():
        judging = partial(judge_policies, policies=policies, criterion=one)
        measuring = partial(measure_judge, policies=policies, criterion=one)
        found.append(JudgePass(gate_stage_of(one), measuring, {}))
        pairs = dict(enumerate(pairs_of_policies(answering)))
        found.append(JudgePass(stage_of(one), judging, pairs))
    if evaluation.harmfulness is not None:
        found.append(JudgePass(GATE, measure_harm_judge, {}))
        for stage, replies in ((GREEDY, 1), (SAMPLED, evaluation.harmfulness.samples)):
            scoring = partial(score_replies, policies=policies, stage=stage)
            found.append(JudgePass(stage, scoring, _replies_of_each(answering, replies)))
    if evaluation.verdicts is not None:
        judging = partial(judge_replies, policies=policies)
        found.append(JudgePass(VERDICT, judging, _replies_of_each(answering, 1)))
    return found


def _replies_of_each(
    policies: Sequence[StagePolicy], replies: int
) -> Mapping[int, Sequence[StagePolicy]]:
    return {
        place * replies + sample: (one,)
        for place, one in enumerate(policies)
        for sample in range(replies)
    }


def judgements_of(
    studio: Studio, policies: Sequence[StagePolicy], replies: Iterable[RowKey]
) -> frozenset[RowKey]:
    """The rows of judges in the ledger that are about one of these replies.

    Args:
        studio: of the run.
        policies: as of `passes_of_judges`.
        replies: rows of any stage; those of no policy have no judgement.
    """
    changed = {(key.stage, key.iteration, key.prompt_id) for key in replies}
    return frozenset(
        row.key
        for one in passes_of_judges(studio.recipe, policies)
        for row in (studio.ledger.rows(one.stage) if one.of_replies else ())
        for policy in one.about.get(row.key.sample, ())
        if (policy.row_stage, policy.iteration, row.key.prompt_id) in changed
    )


def check_judges(studio: Studio) -> None:
    """Make sure that there is something to ask the judges, before hours are spent on policies.

    Raises:
        CaiError: a judge's constitution has faults, or too few principles for what it is to judge;
            or the data that it is to be measured on cannot be read or asked.
    """
    evaluation = studio.recipe.evaluation
    for one in CRITERIA if evaluation.contest is not None else ():
        check_judging(studio, one)
    if evaluation.harmfulness is not None:
        check_judging_of_harm(studio)
    if evaluation.verdicts is not None:
        questions_of(studio)


async def ask_judges(
    studio: Studio, policies: Sequence[StagePolicy], stages: Collection[str] | None = None
) -> None:
    """Take the passes of the judges; see the rows for what came of them.

    Args:
        studio: of the run.
        policies: as of `passes_of_judges`.
        stages: of the passes that are taken; None for all.
    """
    last = studio.iteration
    studio.begin_iteration(0)
    for one in passes_of_judges(studio.recipe, policies):
        if stages is None or one.stage in stages:
            await one.take(studio)
    studio.begin_iteration(last)


async def judge_in_parts(
    studio: Studio, policies: Sequence[StagePolicy], beside: Classifier
) -> AsyncIterator[Mapping[str, Any]]:
    """Take the passes of the judges; gives figures once what they are of is judged.

    Args:
        studio: of the run.
        policies: as of `passes_of_judges`.
        beside: says what a reply is without a judge.
    """
    for part in _parts(studio, policies, beside):
        await ask_judges(studio, policies, part.stages)
        yield part.measure()


def judged_figures(
    studio: Studio, policies: Sequence[StagePolicy], beside: Classifier
) -> Mapping[str, Any]:
    """All figures that the policies' replies have by judges and by their wording.

    Args:
        studio: of the run.
        policies: as they were given to `ask_judges`.
        beside: says what a reply is without a judge.
    """
    parts = _parts(studio, policies, beside)
    return {name: figure for part in parts for name, figure in part.measure().items()}


class _Part(NamedTuple):
    """Figures, and the stages of the passes that they come of."""

    stages: Collection[str]
    measure: Callable[[], Mapping[str, Any]]


def _parts(
    studio: Studio, policies: Sequence[StagePolicy], beside: Classifier
) -> tuple[_Part, ...]:
    contest = {stage(one) for one in CRITERIA for stage in (gate_stage_of, stage_of)}
    return (
        _Part((), partial(measure_style, studio, policies)),
        _Part(contest, partial(contest_figures, studio, policies)),
        _Part((GATE, GREEDY, SAMPLED), partial(measure_harmfulness, studio, policies)),
        _Part((VERDICT,), partial(measure_verdicts, studio, policies, beside)),
    )
