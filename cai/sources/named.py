"""Prompt sets as the command line names them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cai.errors import CaiError
from cai.sources.files import KINDS
from cai.sources.prompt_sets import PromptKind, PromptSet

MICROWORLD_PROMPTS = 300
"""Of ``microworld:…`` where no limit is given."""

_HUB = re.compile(r"[\w.-]+/[\w.-]+")


def named_prompt_set(name: str, kind: PromptKind, *, limit: int | None = None) -> PromptSet:
    """The prompt set of a name.

    Args:
        name: a file; a data set on the hub, ORG/NAME; either with the name of a column behind a
            colon; or ``microworld:heldout`` or ``microworld:train``.
        kind: what its prompts are taken to be.
        limit: how many requests of the microworld; files and hub sets are taken whole.

    Raises:
        CaiError: it is none of these.
    """
    place, _, rest = name.partition(":")
    if place == "microworld":
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


def _set(name: str, kind: PromptKind, fields: dict[str, Any]) -> PromptSet:
    try:
        return PromptSet(kind=kind, **fields)
    except ValidationError as error:
        raise CaiError(
            f"{name!r} names no prompts: write microworld:heldout or microworld:train"
        ) from error
