"""The rows that are made of questions: one for each, or one under each principle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from cai.constitution import Principle
from cai.errors import CaiError
from cai.pipeline.labeler_constitution import OWN_QUESTION
from cai.pipeline.labelling import Judging
from cai.records import RowKey, digest
from cai.sources.questions import JudgedChoice, JudgedPair

Question = JudgedPair | JudgedChoice


class Item(NamedTuple):
    """One row to be made: a question, and the principles to ask under; None to draw them."""

    question: Question
    key: RowKey
    principles: tuple[Principle, ...] | None


def items_of(
    questions: Sequence[Question], judging: Judging, *, each_principle: bool, stage: str
) -> list[Item]:
    """The rows to be made of questions.

    Args:
        questions: read already.
        judging: under which principles, in which way.
        each_principle: whether a pair is a row under each of the principles.
        stage: of the rows; with each principle, its id stands behind a point.

    Raises:
        CaiError: no principle can be asked.
    """
    items = list(_items(questions, judging, each_principle, stage))
    if not items:
        asked = f"no principle of {judging.setting.constitution.id} can be asked"
        raise CaiError(f"{asked}: {judging.label.way}")
    return items


def _items(
    questions: Sequence[Question], judging: Judging, each_principle: bool, prefix: str
) -> Iterator[Item]:
    constitution, way = judging.setting.constitution, judging.label.way
    samples: dict[str, int] = {}
    for question in questions:
        id = _prompt_id(question)
        sample = samples[id] = samples.get(id, -1) + 1
        key = RowKey(prefix, id, sample=sample)
        if isinstance(question, JudgedChoice):
            yield Item(question, key, None)
        elif each_principle:
            fit = constitution.for_prompt(question.pair.prompt)
            for one in fit.of_stage("rating" if way == "rating" else "comparison"):
                yield Item(question, replace(key, stage=f"{prefix}.{one.id}"), (one,))
        elif constitution.id == OWN_QUESTION:
            fit = constitution.principles
            own = next(one for one in fit if one.comparison == question.question)
            yield Item(question, key, (own,))
        else:
            yield Item(question, key, None)


def _prompt_id(question: Question) -> str:
    if isinstance(question, JudgedPair):
        return question.pair.prompt.id
    asked = question.choice
    return digest([asked.conversation, asked.question, asked.source])[:16]
