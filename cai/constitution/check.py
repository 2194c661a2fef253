"""Lint: what a constitution may say, but its author can hardly mean."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from itertools import combinations
from typing import NamedTuple

from cai.constitution.load import Lines, Loaded
from cai.constitution.schema import STAGES, Constitution, Principle
from cai.errors import Fault

NEAR = 0.9
"""Texts whose difflib ratio reaches this are taken for copies of each other."""

TEXT_KEYS = ("critique", "revision", "comparison")

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_BRACES = re.compile(r"[{}]+(?:[^{}\n]*[{}]+)?")
_OPTIONS = re.compile(r"^\s*options\s*:|options\s*:\s*$", re.IGNORECASE)


class UnknownWords(NamedTuple):
    """The words of one principle's text that a model has never seen, in their order."""

    principle: str
    field: str
    line: int | None
    words: tuple[str, ...]


def warnings(loaded: Loaded) -> list[Fault]:
    """All warnings about a constitution, in the order of its lines; inherited principles last."""
    constitution, lines = loaded.constitution, loaded.lines
    found = [
        *_missing_stages(constitution),
        *_odd_texts(constitution, lines),
        *_near_duplicates(constitution, lines),
        *_one_sided_answers(constitution),
    ]
    return sorted(found, key=lambda fault: (fault.line is None, fault.line or 0))


def unknown_words(
    constitution: Constitution, known_words: AbstractSet[str], lines: Lines | None = None
) -> list[UnknownWords]:
    """Name the words of principles that are not among the known ones.

    A word is a run of letters, apostrophes inside it included; case does not matter, and a word
    with an apostrophe is known too if its parts are.

    Args:
        constitution: whose critique, revision and comparison texts are looked at.
        known_words: in small letters.
        lines: where the texts stand, if they were read from a file.
    """
    found: list[UnknownWords] = []
    for principle, key, text in _texts(constitution):
        words = tuple(
            word
            for word in dict.fromkeys(_WORD.findall(text.lower().replace("’", "'")))
            if word not in known_words and not known_words >= set(word.split("'"))
        )
        if words:
            line = (lines or {}).get((principle.id, key))
            found.append(UnknownWords(principle.id, key, line, words))
    return found


def _texts(constitution: Constitution) -> Iterator[tuple[Principle, str, str]]:
    for principle in constitution.principles:
        for key in TEXT_KEYS:
            text = getattr(principle, key)
            if text is not None:
                yield principle, key, text


def _missing_stages(constitution: Constitution) -> Iterator[Fault]:
    lost = {"revision": "no revisions can be made", "comparison": "no labels can be made"}
    for stage in STAGES:
        if not constitution.of_stage(stage):
            yield Fault(f"have no {stage} text; without one {lost[stage]}", "principles")


def _odd_texts(constitution: Constitution, lines: Lines) -> Iterator[Fault]:
    for principle, key, text in _texts(constitution):
        field, line = f"{principle.id}.{key}", lines.get((principle.id, key))
        if _OPTIONS.search(text):
            message = "begins or ends with 'Options:'; delete it, the template adds the options"
            yield Fault(message, field, line)
        braces = _BRACES.search(text)
        if braces:
            message = f"has {braces[0]!r}; a text is no template, so braces are sent as they are"
            yield Fault(f"{message}: delete them or ignore this", field, line)
        if text != text.strip():
            message = "begins or ends with a blank, which is sent too; write it with '>-' or '|-'"
            yield Fault(message, field, line)


def _near_duplicates(constitution: Constitution, lines: Lines) -> Iterator[Fault]:
    for key in TEXT_KEYS:
        texts = [
            (principle, " ".join(text.lower().split()))
            for principle, where, text in _texts(constitution)
            if where == key
        ]
        for (first, first_text), (second, second_text) in combinations(texts, 2):
            ratio = _alike(first_text, second_text)
            if ratio >= NEAR:
                message = f"is {ratio:.0%} the same as that of {first.id!r}; reword it"
                yield Fault(message, f"{second.id}.{key}", lines.get((second.id, key)))


def _alike(first: str, second: str) -> float:
    """Difflib's ratio, or 0 if cheaper upper bounds of it already fall below `NEAR`."""
    matcher = difflib.SequenceMatcher(None, first, second, autojunk=False)
    if matcher.real_quick_ratio() < NEAR or matcher.quick_ratio() < NEAR:
        return 0.0
    return matcher.ratio()


def _one_sided_answers(constitution: Constitution) -> Iterator[Fault]:
    answers = [shot.answer for shot in constitution.few_shots.comparison]
    if len(answers) > 1 and len(set(answers)) == 1:
        message = f"all {len(answers)} examples answer {answers[0]}; swap the replies of half"
        yield Fault(message, "few_shots.comparison")
