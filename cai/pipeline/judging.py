"""Ask a judge questions whose right answers are known, each in a row of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from cai.engine import RowLog
from cai.errors import CaiError
from cai.evaluation.labels import Truth
from cai.evaluation.truths import microworld_truth
from cai.label_settings import LabelSettings
from cai.pipeline.labeler_items import Item, Question
from cai.pipeline.labelling import Judging
from cai.pipeline.studio import Studio
from cai.records import Response
from cai.sources.questions import JudgedChoice
from cai.stages.answer import answer_question
from cai.stages.compare import calls_of, compare, compare_under


async def ask_questions(
    studio: Studio, judging: Judging, items: Sequence[Item], stages: Sequence[str], title: str
) -> None:
    """Ask the run's judge every question; each row has its answer, and beside it the right one.

    Args:
        studio: of the run.
        judging: how the judge is asked.
        items: the questions.
        stages: of their rows.
        title: of the pass, for people.
    """
    truth = microworld_truth(judging.setting.constitution)
    await studio.run_rows(
        title,
        lambda: [item for item in items if studio.takes(item.key)],
        lambda item, log: _take(studio, judging, item, truth, log),
        stages=stages,
    )


def check_questions(
    questions: Sequence[Question], label: LabelSettings, data: Sequence[str]
) -> None:
    """Refuse data that cannot be asked in a way of labelling.

    Args:
        questions: read from the data.
        label: the way.
        data: names of the files, for the message.

    Raises:
        CaiError: there is no question, or some are none of two replies and the way is for those.
    """
    if not questions:
        raise CaiError(f"{', '.join(data)} has no question whose right answer is known")
    choices = any(isinstance(one, JudgedChoice) for one in questions)
    if choices and label != LabelSettings():
        raise CaiError(
            "comparisons.label is about pairs of replies, and some of the data asks about one "
            "conversation; measure that data by itself, with --judge and no such setting"
        )


async def _take(studio: Studio, judging: Judging, item: Item, truth: Truth, log: RowLog) -> None:
    question, key, principles = item
    judge = studio.model("judge", key)
    if isinstance(question, JudgedChoice):
        answer = await answer_question(
            question.choice,
            key,
            judge=judge,
            setting=judging.setting,
            minimum_mass=judging.minimum_mass,
        )
        calls = tuple(order.call for order in answer.orders)
        await log.ok(key, {**asdict(answer), "tags": question.tags}, calls, answer.refusals)
        return
    pair = question.pair
    a = Response(pair.prompt, pair.response_a, 0, "", "")
    b = Response(pair.prompt, pair.response_b, 1, "", "")
    if pair.response_a == pair.response_b:
        log.end(key, "filtered", "both replies are identical")
    how: Mapping[str, Any] = {
        "judge": judge,
        "setting": judging.setting,
        "labelling": judging.labelling,
    }
    if principles is None:
        label = await compare((a, b), key, **how)
    else:
        label = await compare_under(principles, (a, b), key, **how)
    known = truth(label) if question.by_rule else pair.p_a
    about = {"truth": known, "judged": pair.p_a, "tags": question.tags}
    label = replace(label, provenance={**label.provenance, **about})
    await log.ok(key, asdict(label), calls_of(label), label.refusals)
