r"""Questions whose right answer is known, to measure a judge by.

Three kinds of rows are read, and may stand in one file:

- ``prompt``, ``corrects``, ``incorrects``: the CAI paper's own evaluation files. The prompt is a
  text that ends with " (A) …\n (B) …" and "The answer is:". If its options stand in ``[[[ ]]]``
  they are replies to the conversation, and make a pair; else they describe the conversation.
- ``chosen`` and ``rejected``, with or without ``prompt``: pairs as `cai.sources.pairs` reads them.
- pairs of the microworld, whose truth its rules tell: ``microworld:heldout`` in place of a file.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

from cai.errors import CaiError
from cai.records import Comparison, Message, Prompt, digest
from cai.sources.files import read_rows
from cai.sources.pairs import PairKind, PairSet, judged_pair, read_pairs
from cai.sources.prompt_sets import Unreadable
from cai.sources.transcripts import as_prompt, parse_transcript
from cai.stages.answer import MOST_OPTIONS, ChoiceQuestion

MICROWORLD_PAIRS = 300
"""Of `microworld:…` where no limit is given."""

TAGS = ("tags", "tag", "category", "subset")
"""Columns whose texts tell a row's figures apart from others'."""

_QUESTION = re.compile(
    r"(?P<head>.*)\n\n(?P<question>[^\n]+?)(?: Options:)?"
    r"(?P<options>\n \(A\) .*?)\n+The answer is:",
    re.DOTALL,
)
_BRACKETED = re.compile(r"\n \(([A-Z])\) \[\[\[(.*?)\]\]\](?=\n \([A-Z]\) \[\[\[|\Z)", re.DOTALL)
_PLAIN = re.compile(r"\n \(([A-Z])\) (.*?)(?=\n \([A-Z]\) |\Z)", re.DOTALL)
_LETTER = re.compile(r"\s*\(([A-Z])\)\s*")


@dataclass(frozen=True)
class JudgedPair:
    """Two replies, one of which people (or the microworld's rules) prefer.

    Args:
        pair: the replies; its `p_a` is the truth, for the microworld without a principle.
        question: the file's own, to be asked in a principle's place; empty if it has none.
        tags: of the row.
        by_rule: whether the truth is another under each principle, as the microworld's rules say.
    """

    pair: Comparison
    question: str = ""
    tags: tuple[str, ...] = ()
    by_rule: bool = False


@dataclass(frozen=True)
class JudgedChoice:
    """A question about a conversation, with its right answer.

    Args:
        choice: the question.
        tags: of the row; its right answer is among them.
    """

    choice: ChoiceQuestion
    tags: tuple[str, ...] = ()


def read_questions(
    source: str, *, limit: int | None = None, seed: int = 0, kind: PairKind = "harmful"
) -> Iterator[JudgedPair | JudgedChoice | Unreadable]:
    """Stream the questions of a file or of the microworld; other rows come with their reason.

    Args:
        source: a path, or ``microworld:heldout`` or ``microworld:train``.
        limit: take at most so many rows.
        seed: which microworld pairs are drawn.
        kind: of the microworld requests that they answer.

    Raises:
        CaiError: there is no such source.
        InputError: the file is broken.
    """
    if is_microworld(source):
        yield from _microworld(source, limit, seed, kind)
        return
    path = Path(source)
    for number, row in islice(read_rows(path), limit):
        try:
            yield question_of(row, path.name)
        except ValueError as error:
            yield Unreadable(path.name, number, str(error))


def is_microworld(source: str) -> bool:
    """Whether a source is the microworld, and not a file."""
    return source.partition(":")[0] == "microworld"


def _microworld(source: str, limit: int | None, seed: int, kind: PairKind) -> Iterator[JudgedPair]:
    split = source.partition(":")[2]
    if split != "heldout" and split != "train":
        raise CaiError(f"{source!r} is no data; write microworld:heldout, or microworld:train")
    pairs = PairSet(kind=kind, microworld=split, limit=limit or MICROWORLD_PAIRS)
    for pair in read_pairs(pairs, seed):
        if isinstance(pair, Comparison):
            yield JudgedPair(pair, by_rule=True)


def question_of(row: Any, source: str) -> JudgedPair | JudgedChoice:
    """The question of one row of a file.

    Args:
        row: of a file.
        source: name of the file.

    Raises:
        ValueError: it is none of the known kinds; says why.
    """
    if isinstance(row, Mapping) and "corrects" in row:
        return _from_paper(cast("Mapping[str, Any]", row), source)
    pair = judged_pair(row, source, "")
    return JudgedPair(_dealt(pair), tags=_tags(cast("Mapping[str, Any]", row)))


def _dealt(pair: Comparison) -> Comparison:
    """Let either side be the better one as often, by a hash: a kappa is of sides that vary."""
    hashed = digest([pair.prompt.messages, *sorted((pair.response_a, pair.response_b))])
    better_first = pair.response_a <= pair.response_b
    return pair if (int(hashed, 16) & 1) == better_first else pair.swap()


def _from_paper(row: Mapping[str, Any], source: str) -> JudgedPair | JudgedChoice:
    text = row.get("prompt")
    found = _QUESTION.fullmatch(text.rstrip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError("its prompt does not end with (A), (B) … and 'The answer is:'")
    options, are_replies = _options(found["options"])
    right = _right(row, options)
    conversation = _conversation(found["head"])
    if not are_replies:
        choice = ChoiceQuestion(conversation, found["question"], options, right, source)
        return JudgedChoice(choice, (*_tags(row), options[right]))
    if len(options) != 2:
        raise ValueError(f"has {len(options)} replies in [[[ ]]], where two are compared")
    prompt = Prompt(as_prompt(conversation), source)
    pair = Comparison(prompt, *options, p_a=float(right == 0), source="human")
    return JudgedPair(pair, found["question"], _tags(row))


def _options(text: str) -> tuple[tuple[str, ...], bool]:
    """The options without their letters, and whether they stand in brackets, as replies do."""
    bracketed = text.startswith("\n (A) [[[")
    found = (_BRACKETED if bracketed else _PLAIN).findall(text)
    letters = "".join(letter for letter, _ in found)
    if not 2 <= len(found) <= MOST_OPTIONS or letters != string.ascii_uppercase[: len(found)]:
        raise ValueError(f"has options {letters or 'of no known form'}, not A, B … in their order")
    return tuple(option for _, option in found), bracketed


def _right(row: Mapping[str, Any], options: Sequence[str]) -> int:
    corrects = row["corrects"]
    listed = cast("list[Any]", corrects) if isinstance(corrects, list) else []
    named = _LETTER.fullmatch(str(listed[0])) if len(listed) == 1 else None
    place = string.ascii_uppercase.index(named[1]) if named else len(options)
    if place >= len(options):
        raise ValueError(f"corrects is {corrects!r}, not the letter of one option, as [' (A)']")
    return place


def _conversation(head: str) -> tuple[Message, ...]:
    """The conversation in a prompt, without the words that lead to it."""
    begin = head.find("\n\nHuman:")
    if begin < 0:
        raise ValueError("has no '\\n\\nHuman:' turn in its prompt")
    return parse_transcript(head[begin:].rstrip("\n"))


def _tags(row: Mapping[str, Any]) -> tuple[str, ...]:
    found: list[str] = []
    for name in TAGS:
        value = row.get(name)
        listed = cast("list[Any]", value) if isinstance(value, list) else [value]
        found += [one for one in listed if isinstance(one, str) and one]
    return tuple(dict.fromkeys(found))
