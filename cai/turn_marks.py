"""The marks of turns in plain text, and how no text from a user or a model comes to spell one.

Bai et al. (2022) write for base models: what is whose stands in the text itself, as "Human:" or
"CritiqueRequest:" at the beginning of a line, or between "[[[" and "]]]".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

HUMAN = "\n\nHuman:"
ASSISTANT = "\n\nAssistant:"

BREAK = "\u200b"
"""A zero-width space: what it stands in stays legible, and is no mark any more."""

LINE_BREAK = r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]"
LINE_BEGINS = rf"(?:^|{LINE_BREAK})"

MARKS = (
    *("Human:", "Assistant:", "CritiqueRequest:", "Critique:", "RevisionRequest:", "Revision:"),
    *("Options:", "(#)", "The answer is:", "So the answer is:", "The rating is:", "The grade is:"),
)
"""What begins a line of the paper's format and means something there; # is a letter or number."""

_BRACKETS = re.compile(r"\[(?=\[\[)|\](?=\]\])")


def unmarked(text: str, marks: Sequence[str] = MARKS, *, begins_a_line: bool = True) -> str:
    """Text in which no line begins with a mark, and no "[[[" or "]]]" stands.

    A zero-width space goes after the first character of each; nothing else changes.

    Args:
        text: from a user or a model.
        marks: such as "Human:"; capitals, and blanks before the last character, do not matter.
        begins_a_line: whether the text may stand where a line begins.
    """
    broken = _pattern(tuple(marks), LINE_BEGINS if begins_a_line else LINE_BREAK).sub(
        rf"\1\2{BREAK}", text
    )
    return _BRACKETS.sub(rf"\g<0>{BREAK}", broken)


@cache
def _pattern(marks: tuple[str, ...], before: str) -> re.Pattern[str]:
    spelled = "|".join(
        f"{re.escape(mark[:-1].rstrip())}[ \\t]*{re.escape(mark[-1])}" for mark in marks
    )
    spelled = spelled.replace(re.escape("#"), r"(?:[0-9]+|[a-z])")
    return re.compile(rf"({before}[ \t]*)(?={spelled})(.)", re.IGNORECASE)
