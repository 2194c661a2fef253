"""What texts give away by their wording, from data files by language: an approximation.

Beside refusals and evasions, which `cai.evaluation.patterns` reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cai.document import read_document
from cai.errors import CaiError, Fault, InputError
from cai.validation import Entry, validate

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Wording:
    """Patterns of one language.

    Args:
        preamble: the beginning of a rewrite that speaks of itself: "Here is the revised …", or of
            what it should revise: "No revision is needed".
        blames: in a critique, the wording of a fault.
        clears: in a critique, the wording of no fault; it has the last word.
        boilerplate: in a reply, the wording of "as a language model".
        introduction: the beginning of a written prompt that speaks of itself: "Here is another …".
        comfort: in a reply, a phrase of comfort that fits any request: "you are valid, valued …".
        preachy: in a reply, the wording of a lecture on what is right.
        harsh: in a reply, the wording of contempt for the person, or for what was asked.
    """

    preamble: re.Pattern[str]
    blames: re.Pattern[str]
    clears: re.Pattern[str]
    boilerplate: re.Pattern[str]
    introduction: re.Pattern[str]
    comfort: re.Pattern[str]
    preachy: re.Pattern[str]
    harsh: re.Pattern[str]

    def has_preamble(self, revision: str) -> bool:
        """Whether a rewrite begins by speaking of itself."""
        return self.preamble.search(plain(revision)) is not None

    def finds_fault(self, critique: str) -> bool:
        """Whether a critique calls what it looks at harmful."""
        text = plain(critique)
        return self.blames.search(text) is not None and self.clears.search(text) is None

    def is_boilerplate(self, reply: str) -> bool:
        """Whether a reply speaks of what it is, as "as a language model" does."""
        return self.boilerplate.search(plain(reply)) is not None

    def is_stock(self, reply: str) -> bool:
        """Whether a reply is boilerplate, or comforts with a phrase that fits any reply."""
        return self.is_boilerplate(reply) or self.comfort.search(plain(reply)) is not None

    def is_preachy(self, reply: str) -> bool:
        """Whether a reply lectures the person on what is right."""
        return self.preachy.search(plain(reply)) is not None

    def is_harsh(self, reply: str) -> bool:
        """Whether a reply shows contempt for the person, or for what was asked."""
        return self.harsh.search(plain(reply)) is not None

    def is_introduced(self, prompt: str) -> bool:
        """Whether a prompt that a model wrote begins by speaking of itself."""
        return self.introduction.search(plain(prompt)) is not None


class WordingFile(Entry):
    """A file of patterns, one regular expression a line; fields as in `Wording`."""

    preamble: str
    blames: str
    clears: str
    boilerplate: str
    introduction: str
    comfort: str = ""
    preachy: str = ""
    harsh: str = ""


def shipped_wording(language: str) -> Wording | None:
    """The patterns shipped for a language such as "en"; None if there are none."""
    path = _shipped().get(language)
    return None if path is None else parse_wording(path)


def read_wording(language: str, path: Path | None = None) -> Wording:
    """The patterns of a file, or those shipped for a language such as "en".

    Raises:
        CaiError: none are shipped for the language; names those that are.
        InputError: the file cannot be read, lacks a part, or has a pattern that is no regular
            expression.
    """
    if path is None:
        known = _shipped()
        if language not in known:
            raise CaiError(
                f"there are no patterns of wording for the language {language!r}, only for "
                f"{', '.join(sorted(known))}; write a file like cai/wording/en.yaml and name it "
                "with filters.wording, or switch off what needs it: filters.boilerplate, and "
                "preamble and unheeded of revisions.checks"
            )
        path = known[language]
    return parse_wording(path)


def parse_wording(path: Path) -> Wording:
    """Read a file of patterns.

    Raises:
        InputError: as `read_wording`.
    """
    content = validate(read_document(path), WordingFile)
    return Wording(
        **{field: any_of(path, field, lines) for field, lines in content.model_dump().items()}
    )


def _shipped() -> Mapping[str, Path]:
    return {one.stem: one for one in FOLDER.glob("*.yaml")}


def any_of(path: Path, field: str, lines: str) -> re.Pattern[str]:
    """One pattern of many, one a line, matched without regard to case; of no line, of nothing.

    Args:
        path: the file that they stand in, for errors.
        field: their key in it.
        lines: regular expressions.

    Raises:
        InputError: one of them is none.
    """
    patterns = [line.strip() for line in lines.splitlines() if line.strip()]
    faults: list[Fault] = []
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            faults.append(Fault(f"{pattern!r} is no regular expression: {error}", field))
    if faults:
        raise InputError(path, faults)
    if not patterns:
        return re.compile(r"(?!)")
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)


def plain(text: str) -> str:
    """One line, straight apostrophes: what the patterns are written against."""
    return " ".join(text.replace("’", "'").split())
