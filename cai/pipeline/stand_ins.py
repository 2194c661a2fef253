"""Rows that are not at hand yet stand in a forecast by their number alone.

A recipe may name data sets on the hub that were never downloaded, and files that are still to be
written. It says how many rows they have, and a forecast takes that many texts that mean nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import orjson

from cai.errors import Fault, InputError
from cai.filter_settings import FilterSettings
from cai.recipe import PromptSets, Recipe
from cai.sources import PromptSet
from cai.sources.hub import HubSource

Source = TypeVar("Source", bound=HubSource)


def with_stand_ins(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with a file of stand-ins for each set of rows that is not at hand.

    Where there are some, no filter is kept: what it would leave out is not known.

    Args:
        recipe: any.
        folder: where the files go.

    Raises:
        InputError: a set is neither at hand nor says how many rows it has; all such are named.
    """
    absent = [one for one in _sources(recipe) if not one.is_at_hand]
    unknown = {_name(one): told for one in absent if (told := _unknown(one))}
    if unknown:
        faults = [Fault(told, field=name) for name, told in unknown.items()]
        raise InputError(f"the recipe {recipe.name}", faults)
    if not absent:
        return recipe

    def stand_in(sets: Sequence[Source]) -> tuple[Source, ...]:
        return tuple(one if one.is_at_hand else _stand_in(one, folder) for one in sets)

    prompts = {name: stand_in(getattr(recipe.prompts, name)) for name in PromptSets.model_fields}
    comparisons = {"human": stand_in(recipe.comparisons.human)}
    evaluation = {"human": stand_in(recipe.evaluation.human)}
    return recipe.model_copy(
        update={
            "prompts": recipe.prompts.model_copy(update=prompts),
            "comparisons": recipe.comparisons.model_copy(update=comparisons),
            "evaluation": recipe.evaluation.model_copy(update=evaluation),
            "filters": FilterSettings(),
        }
    )


def _unknown(source: HubSource) -> str | None:
    """Why it is not known how many rows a set has that is not at hand; None if it is.

    A limit says it of a data set on the hub; a file that is not there may be a slip of the pen.
    """
    if source.file is not None:
        if source.file.is_dir():
            return "is a folder; name a file"
        later = "or, if it is still to be written, say how many rows it will have, as rows: 1000"
        return None if source.rows is not None else f"is not there; put its name right, {later}"
    if source.rows is not None or source.limit is not None:
        return None
    return (
        "is not at hand, so how many rows it has is not known; say it beside its name, as "
        "rows: 1000"
    )


def _sources(recipe: Recipe) -> Iterator[HubSource]:
    for name in PromptSets.model_fields:
        yield from getattr(recipe.prompts, name)
    yield from recipe.comparisons.human
    yield from recipe.evaluation.human


def _name(source: HubSource) -> str:
    parts = (source.dataset, source.data_dir, source.split) if source.dataset else (source.file,)
    return " ".join(str(part) for part in parts if part is not None)


def _stand_in(source: Source, folder: Path) -> Source:
    """The same set, read from a file of as many rows as it is said to have."""
    name, known = _name(source), [n for n in (source.rows, source.limit) if n is not None]
    place = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.jsonl"
    with place.open("wb") as file:
        for number in range(min(known)):
            # Of the same data set the same texts, so that what is named twice is counted once.
            text = hashlib.sha256(f"{name} {number}".encode()).hexdigest()
            turns = [{"role": "user", "content": text}]
            row = {"prompt": turns, "chosen": "(better)", "rejected": "(worse)"}
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    own: dict[str, object] = {"file": place, "dataset": None, "data_dir": None}
    if isinstance(source, PromptSet):
        own["column"] = "prompt"
    return source.model_copy(update=own)
