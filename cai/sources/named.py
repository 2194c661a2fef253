"""Prompt sets as the command line names them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from cai.errors import CaiError
from cai.sources.files import KINDS
from cai.sources.prompt_sets import KINDS as PROMPT_KINDS
from cai.sources.prompt_sets import PromptKind, PromptSet

MICROWORLD_PROMPTS = 300
"""Of ``microworld:…`` where no limit is given."""

_HUB = re.compile(r"[\w.-]+/[\w.-]+")


class KindColumn(NamedTuple):
    """What tells prompts of several kinds apart.

    Args:
        column: that says the kind of each prompt.
        kinds: its words, where they are not harmful, harmless or borderline, and their kinds.
    """

    column: str
    kinds: Mapping[str, PromptKind]


def kind_column(column: str, meanings: Sequence[str]) -> KindColumn:
    """How a column is read.

    Args:
        column: its name.
        meanings: each as ``WORD=KIND``.

    Raises:
        CaiError: one of them is not that.
    """
    known: Mapping[str, PromptKind] = {kind: kind for kind in PROMPT_KINDS}
    found: dict[str, PromptKind] = {}
    for text in meanings:
        word, _, meant = text.partition("=")
        kind = known.get(meant)
        if not word or kind is None:
            raise CaiError(
                f"{text!r} does not say what a word means; write WORD=KIND, as safe=borderline; "
                f"kinds are {', '.join(PROMPT_KINDS)}"
            )
        found[word] = kind
    return KindColumn(column, found)


def named_prompt_set(
    name: str, kind: PromptKind | KindColumn, *, limit: int | None = None
) -> PromptSet:
    """The prompt set of a name.

    Args:
        name: a file; a data set on the hub, ORG/NAME; either with the name of a column behind a
            colon; or ``microworld:heldout`` or ``microworld:train``.
        kind: what its prompts are taken to be, or which column says it.
        limit: how many requests of the microworld; files and hub sets are taken whole.

    Raises:
        CaiError: it is none of these.
    """
    place, _, rest = name.partition(":")
    if place == "microworld" and not isinstance(kind, KindColumn):
        return _set(name, kind, {"microworld": rest, "limit": limit or MICROWORLD_PROMPTS})
    place, colon, column = name.rpartition(":")
    if not colon or Path(name).is_file():
        place, column = name, ""
    found = {"column": column or None}
    if Path(place).suffix == ".gz" or Path(place).suffix in KINDS or Path(place).is_file():
        return _set(name, kind, {"file": Path(place).resolve(), **found})
    if _HUB.fullmatch(place):
        return _set(name, kind, {"dataset": place, **found})
    raise CaiError(
        f"{name!r} names no prompts; write a file ({', '.join(KINDS)}) or ORG/NAME of the hub, "
        "with or without :COLUMN, or microworld:heldout"
    )


def _set(name: str, kind: PromptKind | KindColumn, fields: dict[str, Any]) -> PromptSet:
    by_column = isinstance(kind, KindColumn)
    told = {"kind_column": kind.column, "kinds": kind.kinds} if by_column else {"kind": kind}
    try:
        return PromptSet(**told, **fields)
    except ValidationError as error:
        raise CaiError(
            f"{name!r} names no prompts: write microworld:heldout or microworld:train"
        ) from error
