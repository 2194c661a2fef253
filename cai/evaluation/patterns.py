"""Refusals, evasions and broken text by their wording, from data files by language."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from cai.document import read_document
from cai.errors import CaiError
from cai.validation import Entry, validate
from cai.wording import any_of, plain

FOLDER = Path(__file__).parent.parent / "refusals"

DEGENERATE_GRAM = 8
DEGENERATE_LENGTH = 80
DEGENERATE_DISTINCT = 0.35
"""Text of 80 characters or more is degenerate where under 35 % of its 8-character pieces differ:
prose has over 90 %, a loop of one sentence under 30 %."""


@dataclass(frozen=True)
class Patterns:
    """How refusals and evasions are worded in one language.

    Args:
        refusal: matches the wording of an open refusal.
        evasive: matches the wording of a reply that leads away from the question.
        opening: a refusal shows itself in this many first characters of a reply; later, the same
            words may be part of an answer.
        evasive_words: a longer reply than this many words says something besides evading.
    """

    refusal: re.Pattern[str]
    evasive: re.Pattern[str]
    opening: int
    evasive_words: int

    def is_refusal(self, reply: str) -> bool:
        """Whether the reply opens with words of refusal."""
        return self.refusal.search(plain(reply)[: self.opening]) is not None

    def is_evasive(self, reply: str) -> bool:
        """Whether the reply is short and leads away from the question."""
        text = plain(reply)
        return len(text.split()) <= self.evasive_words and self.evasive.search(text) is not None


class PatternFile(Entry):
    """A file of patterns, one regular expression a line; fields as in `Patterns`."""

    opening: int = Field(ge=1)
    evasive_words: int = Field(ge=0)
    refusal: str
    evasive: str


def read_patterns(language: str) -> Patterns:
    """The pattern file of a language, such as "en".

    Raises:
        CaiError: there is none for that language; names those that there are.
        InputError: a pattern in the file is not a regular expression.
    """
    known = {path.stem: path for path in FOLDER.glob("*.yaml")}
    if language not in known:
        raise CaiError(
            f"there are no refusal patterns for the language {language!r}, only for "
            f"{', '.join(sorted(known))}; write a file like cai/refusals/en.yaml and name it with "
            "refusals.patterns"
        )
    return parse_patterns(known[language])


def parse_patterns(path: Path) -> Patterns:
    """Read a pattern file: one regular expression a line, matched without regard to case.

    Raises:
        InputError: the file cannot be read, lacks a part, or a pattern is no regular expression.
    """
    content = validate(read_document(path), PatternFile)
    return Patterns(
        refusal=any_of(path, "refusal", content.refusal),
        evasive=any_of(path, "evasive", content.evasive),
        opening=content.opening,
        evasive_words=content.evasive_words,
    )


def is_degenerate(reply: str) -> bool:
    """Whether a reply is empty, holds no letter or digit, or repeats itself over and over."""
    text = " ".join(reply.split())
    if not any(character.isalnum() for character in text):
        return True
    if len(text) < DEGENERATE_LENGTH:
        return False
    starts = range(len(text) - DEGENERATE_GRAM + 1)
    pieces = {text[start : start + DEGENERATE_GRAM] for start in starts}
    return len(pieces) / len(starts) < DEGENERATE_DISTINCT
