"""Answers that people have voted on, as ranked pairs: what preference models are pretrained on.

Askell et al. (2021), §4.1; HH-RLHF (Bai et al. 2022b), A.2. A row holds a `question` and its
`answers`, as ``HuggingFaceH4/stack-exchange-preferences`` has them: each with `text`, and either
`pm_score`, the score itself, or `votes` and perhaps `accepted`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, cast

from cai.records import digest
from cai.sources.files import read_rows
from cai.sources.prompt_sets import Unreadable


@dataclass(frozen=True)
class RankedPair:
    """Two answers to a question, one of which has the higher score."""

    question: str
    better: str
    worse: str


@dataclass(frozen=True)
class _Answer:
    text: str
    score: float


def vote_score(votes: int, *, accepted: bool) -> int:
    """Score of an answer:  round(log2(1 + votes)), and 1 more if the asker has accepted it.

    It is −1 if more people voted against than for it (Askell et al. 2021, §4.1).
    """
    return -1 if votes < 0 else round(math.log2(1 + votes)) + accepted


def read_ranked_pairs(file: Path, per_question: int) -> Iterator[RankedPair | Unreadable]:
    """Stream the pairs of a file; rows that give none come with their reason.

    Args:
        file: JSON lines, JSON or Parquet.
        per_question: most pairs of one question, drawn by their hashes among those whose scores
            differ.

    Raises:
        InputError: the file is not there or is broken.
    """
    for number, row in read_rows(file):
        try:
            yield from ranked_pairs(row, per_question)
        except ValueError as error:
            yield Unreadable(file.name, number, str(error))


def ranked_pairs(row: Any, per_question: int) -> list[RankedPair]:
    """The pairs of one question.

    Raises:
        ValueError: it is no question with answers and scores, or no two scores differ.
    """
    if not isinstance(row, Mapping):
        raise ValueError("is not an object with question and answers")
    fields = cast("Mapping[str, Any]", row)
    absent = [name for name in ("question", "answers") if name not in fields]
    if absent:
        raise ValueError(f"has no {' and no '.join(absent)}; its fields are {', '.join(fields)}")
    question, listed = fields["question"], fields["answers"]
    if not isinstance(question, str) or not question.strip() or not isinstance(listed, list):
        raise ValueError("question must be a text, and answers a list")
    answers = [_answer(one) for one in cast("list[Any]", listed)]
    ranked = [
        (one, other) if one.score > other.score else (other, one)
        for one, other in combinations(answers, 2)
        if one.score != other.score
    ]
    if not ranked:
        raise ValueError("has no two answers whose scores differ")
    ranked.sort(key=lambda pair: digest([question, pair[0].text, pair[1].text]))
    return [RankedPair(question, one.text, other.text) for one, other in ranked[:per_question]]


def _answer(value: Any) -> _Answer:
    if not isinstance(value, Mapping):
        raise ValueError("has an answer that is no object")
    fields = cast("Mapping[str, Any]", value)
    text = fields.get("text")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("has an answer without text")
    score = fields.get("pm_score")
    if score is None:
        votes, accepted = fields.get("votes"), fields.get("accepted", False)
        if not isinstance(votes, int) or not isinstance(accepted, bool):
            raise ValueError("has an answer with neither pm_score nor votes, a whole number")
        score = vote_score(votes, accepted=accepted)
    if not isinstance(score, int | float) or not math.isfinite(score):
        raise ValueError(f"has an answer with pm_score {score!r}, no number")
    return _Answer(text, float(score))
